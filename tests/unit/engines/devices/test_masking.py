"""GPUs to masks."""

from __future__ import annotations

from itertools import permutations

import pytest

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.engines.devices.masking import MASKS, child_environment, names_to_unset, place, unmasked

NVIDIA = tuple(
    Gpu(n, f"GPU-{n}{n}", f"0000:0{n}:00.0", "RTX 4090", GpuType.NVIDIA, 24 << 30, compute_capability=(8, 9))
    for n in range(2)
)
AMD = (
    Gpu(2, "a1ff74a0-0000-1000-8000-000000000001", "0000:09:00.0", "RX 7900 XTX", GpuType.AMD, 24 << 30),
    Gpu(3, "a1ff74a0-0000-1000-8000-000000000002", "0000:03:00.0", "RX 7600", GpuType.AMD, 8 << 30),
)
MACHINE = NVIDIA + AMD


@pytest.mark.parametrize(
    ("gpus", "env"),
    [
        (NVIDIA[:1], {"CUDA_VISIBLE_DEVICES": "GPU-00", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (NVIDIA[::-1], {"CUDA_VISIBLE_DEVICES": "GPU-11,GPU-00", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (AMD[:1], {"HIP_VISIBLE_DEVICES": "1"}),  # the second by PCI address
        (AMD, {"HIP_VISIBLE_DEVICES": "1,0"}),
        ((), {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}),
    ],
)
def test_exactly_one_mask_and_no_other_is_inherited(gpus: tuple[Gpu, ...], env: dict[str, str]) -> None:
    placement = place(gpus, MACHINE)
    assert dict(placement.env) == env
    assert set(placement.unset) == set(MASKS) - set(env)


def test_a_uuid_that_hip_knows_is_used() -> None:
    gpu = Gpu(0, "GPU-6f0e1d2c3b4a5968", "0000:03:00.0", "RX 7600", GpuType.AMD, 8 << 30)
    assert dict(place((gpu,), (gpu,)).env) == {"HIP_VISIBLE_DEVICES": "GPU-6f0e1d2c3b4a5968"}


@pytest.mark.parametrize("uuid", ["0000:0c:00.0", "a1ff74a0-0000-1000-8000-000000000003"])
def test_a_gpu_without_a_uuid_of_hips_goes_by_hips_own_number(uuid: str) -> None:
    gpu = Gpu(0, uuid, "0000:0c:00.0", "Radeon 780M", GpuType.AMD, 16 << 30, integrated=True, hip_id=0)
    assert dict(place((gpu,), (gpu, *AMD)).env) == {"HIP_VISIBLE_DEVICES": "0"}


FASTEST_FIRST = (
    Gpu(1, "GPU-c3", "0000:81:00.0", "H100", GpuType.NVIDIA, 80 << 30, compute_capability=(9, 0)),
    Gpu(0, "GPU-a1", "0000:01:00.0", "RTX 2080", GpuType.NVIDIA, 8 << 30, compute_capability=(7, 5)),
    Gpu(2, "GPU-b2", "0000:c1:00.0", "T400", GpuType.NVIDIA, 4 << 30, compute_capability=(7, 5)),
)


def seen_by_cuda(env: dict[str, str]) -> list[Gpu]:
    """The GPUs that CUDA would show, by its documented rules: its order is the fastest first unless told otherwise,
    and the mask has numbers in that order, or UUIDs.
    """
    order = list(FASTEST_FIRST)
    if env.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        order.sort(key=lambda gpu: gpu.pci_address)
    tokens = env["CUDA_VISIBLE_DEVICES"].split(",")
    return [next(gpu for at, gpu in enumerate(order) if token in {str(at), gpu.uuid}) for token in tokens]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_cudas_own_order_never_brings_another_gpu(count: int) -> None:
    assert seen_by_cuda({"CUDA_VISIBLE_DEVICES": "0"})[0].index != 0  # the trap: our first is not CUDA's
    for chosen in permutations(FASTEST_FIRST, count):
        assert seen_by_cuda(dict(place(chosen, FASTEST_FIRST).env)) == list(chosen)


def test_two_vendors_are_refused_by_name() -> None:
    with pytest.raises(LaunchdeckError, match=r"RTX 4090, RX 7900 XTX.*Vulkan"):
        place((NVIDIA[0], AMD[0]), MACHINE)


def test_an_engine_without_masks_inherits_none() -> None:
    assert unmasked().env == ()
    assert set(unmasked().unset) == set(MASKS)


def test_the_environment_of_a_process() -> None:
    inherited = {"PATH": "/bin", "HIP_VISIBLE_DEVICES": "3", "LLAMA_ARG_PORT": "1", "LLAMA_ARGUS": "x"}
    env = child_environment(inherited, [("CUDA_VISIBLE_DEVICES", "-1")], ["HIP_VISIBLE_DEVICES", "LLAMA_ARG_*"])
    assert env == {"PATH": "/bin", "LLAMA_ARGUS": "x", "CUDA_VISIBLE_DEVICES": "-1"}
    assert set(names_to_unset(inherited, ["HIP_VISIBLE_DEVICES", "LLAMA_ARG_*", "NOT_THERE"])) == {
        "HIP_VISIBLE_DEVICES",
        "LLAMA_ARG_PORT",
    }
    assert names_to_unset(inherited, ["PATH"]) == ("PATH",)
