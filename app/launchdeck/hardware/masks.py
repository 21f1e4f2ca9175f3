"""Masks that were set before Launchdeck started, by a batch system or by an agreement among colleagues: which GPUs they
leave to it.

Every mask is read as the library reads it that obeys it. CUDA: a list of numbers or of UUIDs, by its first entry; it
ends at the first that names no GPU, and a repetition leaves none. ROCr: numbers and UUIDs, to the first that names no
GPU or one for the second time. HIP counts what ROCr has left, ignores repetitions, takes CUDA's mask where its own is
empty, and an empty one hides nothing. Sources: `torch.cuda` (which reads CUDA's mask as the driver does), `RvdFilter`
of ROCr, `roc::Device::init` of AMD's CLR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from launchdeck.domain.gpu import Gpu, GpuMask, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.bus_order import by_bus

CUDA_MASK: Final = "CUDA_VISIBLE_DEVICES"
CUDA_ORDER: Final = "CUDA_DEVICE_ORDER"
HIP_MASK: Final = "HIP_VISIBLE_DEVICES"
ROCR_MASK: Final = "ROCR_VISIBLE_DEVICES"
OPENCL_MASK: Final = "GPU_DEVICE_ORDINAL"
BUS_ORDER: Final = "PCI_BUS_ID"

_UUID_PREFIXES: Final = ("GPU-", "MIG-")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_C_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,9}|[1-9][0-9]{0,8}")
_MOST_DIGITS: Final = 9
_SHORTEST_UUID, _LONGEST_UUID = 5, 20  # of ROCr
_LONGEST_SETTING: Final = 100
_SAME_SIZE: Final = 1.02  # cards of one model tell sizes that differ by less: firmware and error correction take some


@dataclass(frozen=True, slots=True)
class Resolved:
    """The GPUs, those that a mask hides marked; `warnings` tell of masks that may not say what somebody meant."""

    gpus: tuple[Gpu, ...]
    warnings: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class _Left:
    """What a mask leaves, in its order. `ended_by` is the entry that ended the list, None where all were read."""

    gpus: tuple[Gpu, ...]
    ended_by: str | None = None
    doubt: Message | None = None


def resolve(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> Resolved:
    """Which of this machine's GPUs the masks of `environ` leave to us. A mask that nobody can read for sure hides all
    GPUs that it may mean.
    """
    hidden: dict[str, GpuMask] = {}
    warnings: list[Message] = []

    def obey(name: str, among: tuple[Gpu, ...], left: _Left) -> tuple[Gpu, ...]:
        setting = _setting(name, environ)
        hidden.update({gpu.uuid: GpuMask(setting, left.doubt) for gpu in among if gpu not in left.gpus})
        if among and (warning := left.doubt or _about_the_end(setting, left.ended_by)):
            warnings.append(warning)
        return left.gpus

    nvidia = tuple(gpu for gpu in gpus if gpu.gpu_type is GpuType.NVIDIA)
    amd = by_hip_number([gpu for gpu in gpus if gpu.gpu_type is GpuType.AMD])
    if (value := environ.get(CUDA_MASK)) is not None:
        obey(CUDA_MASK, nvidia, _left_by_cuda(value, nvidia, environ))
    if (value := environ.get(ROCR_MASK)) is not None:
        amd = obey(ROCR_MASK, amd, _left_by_rocr(value, amd))
    if (name := _mask_of_hip(environ)) is not None:
        obey(name, amd, _left_by_hip(environ[name], amd))
    marked = (replace(gpu, ours=gpu.uuid not in hidden, hidden_by=hidden.get(gpu.uuid)) for gpu in gpus)
    return Resolved(tuple(marked), tuple(dict.fromkeys(warnings)))


def without_masks(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a driver's library sees every GPU, counted as on the PCI bus."""
    masks = {CUDA_MASK, CUDA_ORDER, HIP_MASK, ROCR_MASK, OPENCL_MASK}
    return {name: value for name, value in environ.items() if name not in masks} | {CUDA_ORDER: BUS_ORDER}


def by_hip_number(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """AMD's GPUs as HIP and ROCr count them: by their own numbers where all are known, else as on the PCI bus."""
    known = {gpu.hip_id: gpu for gpu in gpus if gpu.hip_id is not None}
    return tuple(known[number] for number in sorted(known)) if len(known) == len(gpus) else by_bus(gpus)


def _mask_of_hip(environ: Mapping[str, str]) -> str | None:
    """OpenCL's counts where nothing else does: HIP does not read it, but whoever set it meant these GPUs. Beside
    another one it would hide more than was meant, since batch systems set the same numbers in both.
    """
    names = (HIP_MASK, CUDA_MASK) if ROCR_MASK in environ else (HIP_MASK, CUDA_MASK, OPENCL_MASK)
    return next((name for name in names if environ.get(name)), None)


def _left_by_cuda(value: str, gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> _Left:
    words = [word.strip() for word in value.split(",")]
    prefix = next((prefix for prefix in _UUID_PREFIXES if words[0].startswith(prefix)), None)
    if prefix is not None:
        left = _listed(words, lambda word: _by_uuid(word, prefix, gpus))
        return replace(left, doubt=_about_slices(_setting(CUDA_MASK, environ), left.ended_by, gpus))
    counted = by_bus(gpus)
    left = _listed(words, lambda word: _by_number(word, counted))
    if not left.gpus or len(left.gpus) == len(gpus):
        return left
    doubt = _doubt(_setting(CUDA_MASK, environ), gpus, environ.get(CUDA_ORDER))
    return left if doubt is None else _Left((), doubt=doubt)


def _doubt(setting: str, gpus: Sequence[Gpu], order: str | None) -> Message | None:
    if any(gpu.uuid.startswith("MIG-") for gpu in gpus):
        return Message(
            "{mask} counts GPUs, and some of them are divided (MIG): name UUIDs in it, then start Launchdeck again.",
            mask=setting,
        )
    if order == BUS_ORDER or _are_alike(gpus):
        return None
    return Message(
        "{mask} counts the fastest GPU first, and nobody can tell which that is: set {order} as well or name UUIDs, "
        "then start Launchdeck again.",
        mask=setting,
        order=f"{CUDA_ORDER}={BUS_ORDER}",
    )


def _are_alike(gpus: Sequence[Gpu]) -> bool:
    """Whether these may be taken for cards of one model: there are two of one name, with unlike memories and speeds."""
    totals = [gpu.total_memory_bytes for gpu in gpus if gpu.total_memory_bytes is not None]
    return len({gpu.name for gpu in gpus}) == 1 and (not totals or max(totals) <= min(totals) * _SAME_SIZE)


def _about_slices(setting: str, ended_by: str | None, gpus: Sequence[Gpu]) -> Message | None:
    """A divided card is none that a program can be given."""
    if not ended_by or not any((gpu.slice_of or "").startswith(ended_by) for gpu in gpus):
        return None
    return Message(
        "{mask} names with {entry} a GPU that is divided into slices (MIG): name the UUID of a slice in its place, "
        "then start Launchdeck again.",
        mask=setting,
        entry=_shortened(ended_by),
    )


def _listed(words: Sequence[str], named: Callable[[str], Gpu | None]) -> _Left:
    """A list as CUDA reads it."""
    found: list[Gpu] = []
    for word in words:
        gpu = named(word)
        if gpu is None:
            return _Left(tuple(found), word)
        if gpu in found:
            return _Left((), word)
        found.append(gpu)
    return _Left(tuple(found))


def _by_uuid(word: str, prefix: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The one GPU whose UUID begins so."""
    matching = [gpu for gpu in gpus if word.startswith(prefix) and gpu.uuid.startswith(word)]
    return matching[0] if len(matching) == 1 else None


def _by_number(word: str, counted: Sequence[Gpu]) -> Gpu | None:
    """The digits at its beginning count, whatever follows."""
    match = _NUMBER.match(word)
    number = int(match[0]) if match and len(match[0]) <= _MOST_DIGITS else -1
    return counted[number] if 0 <= number < len(counted) else None


def _left_by_rocr(value: str, counted: tuple[Gpu, ...]) -> _Left:
    found: list[Gpu] = []
    for word in value.split(",") if value else ():
        token = word.strip()
        gpu = _by_rocr_uuid(token.upper(), counted) if token[:1] in {"G", "g"} else _by_c_number(token, counted)
        if gpu is None or gpu in found:
            return _Left(tuple(found), token)
        found.append(gpu)
    return _Left(tuple(found))


def _by_rocr_uuid(token: str, gpus: Sequence[Gpu]) -> Gpu | None:
    if not _SHORTEST_UUID <= len(token) <= _LONGEST_UUID:
        return None
    matching = [gpu for gpu in gpus if gpu.uuid.upper().startswith(token)]
    return matching[0] if len(matching) == 1 else None


def _by_c_number(token: str, counted: Sequence[Gpu]) -> Gpu | None:
    """A whole number as C's strtol reads it without a base."""
    if _C_NUMBER.fullmatch(token) is None:
        return None
    is_octal = len(token) > 1 and token.isdecimal() and token[0] == "0"
    number = int(token, 8) if is_octal else int(token, 0)
    return counted[number] if number < len(counted) else None


def _left_by_hip(value: str, counted: tuple[Gpu, ...]) -> _Left:
    found: list[Gpu] = []
    for word in value.split(","):
        token = word.strip()
        gpu = next((gpu for gpu in counted if "GPU-" in token and token in gpu.uuid), None)
        if gpu is None and token.isascii() and token.isdecimal():
            gpu = _by_number(token, counted)
        if gpu is None:
            return _Left(tuple(found), token)
        if gpu not in found:
            found.append(gpu)
    return _Left(tuple(found))


def _about_the_end(setting: str, ended_by: str | None) -> Message | None:
    """Nobody means a GPU by "-1" or by nothing."""
    if ended_by is None or ended_by in {"", "-1"}:
        return None
    return Message(
        "{mask} names no GPU of this machine with {entry} (or names it twice): the list ends there.",
        mask=setting,
        entry=_shortened(ended_by),
    )


def _setting(name: str, environ: Mapping[str, str]) -> str:
    value = environ[name]
    return _shortened(f"{name}={value}" if value.strip() else f'{name}="{value}"')


def _shortened(text: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST_SETTING else text[:_LONGEST_SETTING] + "…"
