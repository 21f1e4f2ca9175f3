"""The engine's own account of a launch, which its `llama-fit-params` gives from the model's header without allocating.

It counts the results of all tokens of a batch, and one sequence, where a server keeps the results of its slots alone.
So what is kept of it is how far the closed form was off for that very case; that is added where the server is meant.
Where those results are the largest thing on a device, its answer hides everything else and is not used. Its numbers
are whole MiB: a difference below one is none.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import MASK, DeviceEstimate, EngineKind, Estimate, LaunchPlan, Tier
from launchdeck.domain.request import FlashAttention
from launchdeck.domain.units import MIB
from launchdeck.engines.devices.masking import child_environment
from launchdeck.engines.llama.argv import DEFAULT_BATCH, DEFAULT_UBATCH, PROGRESS_ENV
from launchdeck.files.apart import NoAnswerError
from launchdeck.files.json_file import JsonFile
from launchdeck.files.looking import is_file
from launchdeck.planning.llama.compute import FORMS_VERSION
from launchdeck.planning.llama.estimate import Device, Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.planning.llama.estimate import MemoryModel

logger = logging.getLogger(__name__)

PROGRAM = "llama-fit-params"
MOST_ANSWERS = 2000
_TIMEOUT_S = 20.0
_MOST_OFF_BYTES = 1 << 50  # a petabyte: no card has it
_LINE = re.compile(r"(\S+) (\d+) (\d+) (\d+) *")
_HOST = "Host"
_SHARED_OPTIONS = frozenset({
    "--model", "--ctx-size", "--n-gpu-layers", "--rpc", "--device", "--tensor-split", "--cache-type-k",
    "--cache-type-v", "--flash-attn", "--batch-size", "--ubatch-size", "--n-cpu-moe",
})  # fmt: skip


class Accounting:
    """Answers kept in a file: for the same model, program and parameters the engine is asked once."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = None if file is None else JsonFile(file)
        self._off_bytes = {} if self._file is None else _checked(self._file.read())
        self._unanswered: set[str] = set()

    @property
    def has_answers(self) -> bool:
        return bool(self._off_bytes)

    def refine(self, plan: LaunchPlan) -> LaunchPlan:
        """The plan with the engine's account of the compute buffers, where it has given one."""
        off_bytes = self._off_bytes.get(_key(plan)) if self._off_bytes else None
        if off_bytes is None or len(off_bytes) != len(plan.estimate.devices):
            return plan
        devices = tuple(_corrected(*pair) for pair in zip(plan.estimate.devices, off_bytes, strict=True))
        return replace(plan, estimate=Estimate(devices, plan.estimate.host))

    def is_open(self, plan: LaunchPlan) -> bool:
        """Whether the engine can be asked about this plan, and has not been yet."""
        if not plan.layers.resolved or plan.blocker is not None or _program(plan) is None:
            return False
        key = _key(plan)
        return key not in self._off_bytes and key not in self._unanswered

    def ask(self, plan: LaunchPlan, memory: MemoryModel) -> bool:
        """Ask the engine; whether there is an answer now. Starts a program, for about a fifth of a second."""
        program = _program(plan)
        key = _key(plan)
        compute_bytes = _run(plan, program) if program else None
        load = _counted_load(plan)
        counted = memory.estimate(load).devices
        plain = counted if _is_embedding(plan) else memory.estimate(replace(load, embedding=False)).devices
        if compute_bytes is None or len(compute_bytes) != len(counted):
            self._unanswered.add(key)
            return False
        self._off_bytes[key] = [
            None if ours.compute_bytes - few.compute_bytes > MIB else theirs - ours.compute_bytes
            for theirs, ours, few in zip(compute_bytes, counted, plain, strict=True)
        ]
        while len(self._off_bytes) > MOST_ANSWERS:
            del self._off_bytes[next(iter(self._off_bytes))]
        if self._file:
            self._file.write_if_possible(self._off_bytes)
        return True


def _checked(document: dict[str, Any]) -> dict[str, list[int | None]]:
    """The answers in the file that can be ones: for each device bytes, or None."""
    return {key: value for key, value in document.items() if isinstance(value, list) and all(map(_is_answer, value))}


def _is_answer(value: object) -> bool:
    return value is None or (type(value) is int and abs(value) <= _MOST_OFF_BYTES)


def _is_embedding(plan: LaunchPlan) -> bool:
    return plan.request.server_type is ServerType.EMBEDDING


def _corrected(device: DeviceEstimate, off_bytes: int | None) -> DeviceEstimate:
    if off_bytes is None:
        return device
    off_bytes = off_bytes if abs(off_bytes) > MIB else 0
    return replace(device, compute_bytes=max(device.compute_bytes + off_bytes, 0), compute_tier=Tier.ENGINE)


def _program(plan: LaunchPlan) -> Path | None:
    if plan.engine.kind is not EngineKind.LLAMA_SERVER or plan.engine.path is None:
        return None
    program = plan.engine.path.with_name(PROGRAM)
    try:
        return program if is_file(program) else None
    except NoAnswerError:
        return None


def _counted_load(plan: LaunchPlan) -> Load:
    """What the program counts: one sequence, and the results of all tokens as if each were an embedding."""
    options = dict(zip(plan.argv, plan.argv[1:], strict=False))
    names = tuple(device.device for device in plan.estimate.devices)
    gpu_count = len(names) - len(plan.request.rpc_workers)
    split = options.get("--tensor-split")
    return Load(
        n_gpu_layers=plan.layers.resolved,
        n_ctx=plan.n_ctx,
        n_parallel=1,
        cache_type_k=plan.request.cache_type_k,
        cache_type_v=plan.request.cache_type_v,
        embedding=True,
        devices=tuple(Device(name, None, is_worker=place >= gpu_count) for place, name in enumerate(names)),
        split=tuple(map(float, split.split(","))) if split else (1.0,) * len(names),
        n_batch=int(options.get("--batch-size", DEFAULT_BATCH)),
        n_ubatch=int(options.get("--ubatch-size", DEFAULT_UBATCH)),
        flash_attention=plan.flash_attention is not False,
        given_up=plan.flash_attention is False and plan.request.flash_attention is not FlashAttention.OFF,
        n_cpu_moe=plan.request.n_cpu_moe,
    )


def _options(plan: LaunchPlan) -> list[str]:
    """What the launch and the account have in common."""
    words: list[str] = []
    wanted = False
    for word in plan.argv:
        wanted = word in _SHARED_OPTIONS if word.startswith("--") else wanted
        words += [word] if wanted else []
    return words


def _key(plan: LaunchPlan) -> str:
    """What we count by, the model, the engine and everything that is told to it. A model that was changed has another
    size or age.
    """
    told = (str(plan.model.size_bytes), plan.engine.id, plan.engine.version or "", *_options(plan))
    return "\0".join((str(FORMS_VERSION), *told))


def _run(plan: LaunchPlan, program: Path) -> Sequence[int] | None:
    """Bytes of the compute buffer on each device, in their order."""
    command = [str(program), *_options(plan), "--parallel", "1", "--fit-print", "on"]
    added = [(name, value) for name, value in plan.env if value != MASK and (name, value) != PROGRESS_ENV]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(os.environ, added, plan.env_unset),
            timeout=_TIMEOUT_S,
            encoding="utf-8",
            errors="replace",
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("%s gives no account of %s: %s", program, plan.model.name, error)
        return None
    lines = [match for match in map(_LINE.fullmatch, done.stdout.splitlines()) if match]
    return [int(line[4]) * MIB for line in lines if line[1] != _HOST]
