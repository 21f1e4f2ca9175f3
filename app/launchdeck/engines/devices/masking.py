"""GPUs to environment: each vendor has exactly one variable that says which of its GPUs a process may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.bus_order import by_bus, card
from launchdeck.hardware.masks import BUS_ORDER, CUDA_MASK, CUDA_ORDER, HIP_MASK, OPENCL_MASK, ROCR_MASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VULKAN_MASK = "GGML_VK_VISIBLE_DEVICES"
# Every variable that masks or reorders GPUs. Masks stack, and HIP obeys CUDA's as well: all but ours are taken away.
MASKS = (
    CUDA_MASK,
    CUDA_ORDER,
    HIP_MASK,
    ROCR_MASK,
    OPENCL_MASK,
    VULKAN_MASK,
    "ONEAPI_DEVICE_SELECTOR",
)
# -1 is no device for CUDA and HIP alike. An empty text hides nothing from HIP, which takes it for "not set".
NOTHING = "-1"


@dataclass(frozen=True, slots=True)
class Placement:
    """`env` is added to the inherited environment, `unset` are the names taken away from it."""

    env: tuple[tuple[str, str], ...]
    unset: tuple[str, ...]


def place(gpus: Sequence[Gpu], machine: Sequence[Gpu], *, numbered: bool = False) -> Placement:
    """Make the environment in which a process sees exactly these GPUs, in this order; none: no GPU at all.

    `numbered` is for programs that cannot read a UUID: NVIDIA's GPUs are then counted in the order of the PCI bus.

    Raises:
        LaunchdeckError: GPUs of two vendors; only an engine that needs no mask (Vulkan) can take those. Or a slice of
            a GPU, which has no number.
    """
    vendors = {gpu.gpu_type for gpu in gpus}
    if len(vendors) > 1:
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("One launch cannot use GPUs of two vendors ({names}).", names=", ".join(gpu.name for gpu in gpus)),
            Message("Choose GPUs of one vendor, or an engine built for Vulkan."),
        )
    if not vendors:
        return _placement({CUDA_MASK: NOTHING, HIP_MASK: NOTHING})
    if numbered and any(gpu.slice_of is not None for gpu in gpus):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("This version of the engine counts GPUs by number, and slices of a divided GPU (MIG) have none."),
            Message("Choose a GPU that is not divided, or update the engine."),
        )
    if vendors == {GpuType.NVIDIA}:
        # CUDA's own order is the fastest first; the UUIDs would do alone, the order makes what CUDA prints agree.
        names = (_pci_place(gpu, machine) if numbered else gpu.uuid for gpu in gpus)
        return _placement({CUDA_MASK: ",".join(names), CUDA_ORDER: BUS_ORDER})
    return _placement({HIP_MASK: ",".join(_hip_name(gpu, machine) for gpu in gpus)})


def _hip_name(gpu: Gpu, machine: Sequence[Gpu]) -> str:
    """HIP takes UUIDs of its own ("GPU-...") and its own numbers, which follow the PCI address unless amdsmi knows
    better; amdsmi's place in its list is none of these (pytorch#160468).
    """
    if gpu.uuid.startswith("GPU-"):
        return gpu.uuid
    if gpu.hip_id is not None:
        return str(gpu.hip_id)
    return _pci_place(gpu, machine)


def _pci_place(gpu: Gpu, machine: Sequence[Gpu]) -> str:
    """The GPU's number among those of its vendor, in the order of the PCI bus."""
    same = by_bus([one for one in machine if one.gpu_type is gpu.gpu_type])
    return str(list(dict.fromkeys(map(card, same))).index(card(gpu)))  # the slices of a card are one of them


def unmasked() -> Placement:
    """Make the environment in which a process sees all GPUs and chooses itself: for engines with masks of their own."""
    return _placement({})


def names_to_unset(inherited: Mapping[str, str], unset: Sequence[str]) -> tuple[str, ...]:
    """List the inherited names that `unset` means: `NAME`, or `PREFIX*` for all that begin so."""
    prefixes = tuple(name.removesuffix("*") for name in unset if name.endswith("*"))
    return tuple(name for name in inherited if name in unset or name.startswith(prefixes))


def child_environment(
    inherited: Mapping[str, str], env: Sequence[tuple[str, str]], unset: Sequence[str]
) -> dict[str, str]:
    """Make a process's environment: what it inherits without what `unset` means, and then `env`."""
    gone = set(names_to_unset(inherited, unset))
    return {name: value for name, value in inherited.items() if name not in gone} | dict(env)


def _placement(env: dict[str, str]) -> Placement:
    return Placement(tuple(env.items()), tuple(name for name in MASKS if name not in env))
