"""Which devices a launch is given: every GPU its own, on machines with twins, mixed backends and nameless cards."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from fakes.gguf_models import llama
from fakes.samples import LLAMA_SERVER, gpu, inventory
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuReading, GpuSample, GpuState, GpuType, Inventory, Promise
from launchdeck.domain.plan import EngineInfo, LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.document import plan_document
from launchdeck.engines.plan import PlanningContext, plan_launch
from launchdeck.models.describe import describe
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import MemoryModel
from launchdeck.settings.schema import Settings

GIB = 1024**3
MIB = 1024**2
NVIDIA, AMD = GpuType.NVIDIA, GpuType.AMD
XTX = "AMD Radeon RX 7900 XTX (RADV NAVI31) (24576 MiB, 20000 MiB free)"
RTX = "NVIDIA GeForce RTX 4090 (24576 MiB, 23000 MiB free)"


def engine(*devices: str, able: bool = True) -> EngineInfo:
    flags = (
        frozenset({"--device", "--n-gpu-layers", "--tensor-split", "--kv-unified", "--cache-type-k"})
        if able
        else frozenset({"--n-gpu-layers"})
    )
    return replace(LLAMA_SERVER, gpu_types=frozenset({NVIDIA, AMD}), flags=flags, devices=devices)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(n_ctx=4096).write(tmp_path_factory.mktemp("models") / "small.gguf")


@pytest.fixture
def plan_of(model: Path) -> Any:
    def plan_of(machine: Inventory, *engines: EngineInfo, **request: Any) -> LaunchPlan:
        header = read_header(model)
        context = PlanningContext(machine, engines, Settings(), describe(header), MemoryModel.of(header))
        return plan_launch(ModelLoadRequest(model, **request), context, 8001)

    return plan_of


def told(plan: LaunchPlan) -> str:
    """What the command names."""
    return plan.argv[plan.argv.index("--device") + 1]


def env_of(plan: LaunchPlan) -> dict[str, str]:
    return {name: value for name, value in plan.env if "VISIBLE" in name}


def twins(*used_gib: float) -> tuple[GpuReading, ...]:
    return tuple(gpu(place, "NVIDIA GeForce RTX 4090", NVIDIA, 24, used) for place, used in enumerate(used_gib))


def test_each_twin_is_its_own_device_and_that_it_is_assumed_is_told(plan_of: Any) -> None:
    machine, vulkan = inventory(*twins(2, 2, 2)), engine(*(f"Vulkan{n}: {RTX}" for n in range(3)))
    for place in range(3):
        plan = plan_of(machine, vulkan, gpu_uuids=(f"GPU-{place}",))
        assert told(plan) == f"Vulkan{place}"
        assert f"it is assumed to be Vulkan{place}" in str(plan_document(plan)["warnings"])
    for order in permutations(range(3)):
        assert told(plan_of(machine, vulkan, gpu_uuids=tuple(f"GPU-{n}" for n in order))) == ",".join(
            f"Vulkan{n}" for n in order
        )


def test_what_was_free_at_the_listing_tells_twins_apart_and_that_it_is_assumed_is_told(plan_of: Any) -> None:
    """The listing may be as old as the last start of the machine."""
    busy = RTX.replace("23000", "3072")
    machine, vulkan = inventory(*twins(21, 1.5)), engine(f"Vulkan0: {RTX}", f"Vulkan1: {busy}")
    plans = [plan_of(machine, vulkan, gpu_uuids=(f"GPU-{place}",)) for place in range(2)]
    assert [told(plan) for plan in plans] == ["Vulkan1", "Vulkan0"]
    for place, plan in enumerate(plans):
        (warning,) = plan.warnings
        assert f"it is assumed to be Vulkan{1 - place}" in str(warning)
        assert "Only what was free" in str(warning)


@pytest.mark.parametrize("names", list(permutations(["RTX 4070", "RTX 4070 Ti", "RTX 4070 Ti SUPER"])))
def test_a_name_within_a_name_is_not_taken_for_it(plan_of: Any, names: tuple[str, ...]) -> None:
    machine = inventory(*(gpu(n, f"NVIDIA GeForce {name}", NVIDIA, 12, n) for n, name in enumerate(names)))
    lines = ("RTX 4070 Ti SUPER", "RTX 4070", "RTX 4070 Ti")
    vulkan = engine(*(f"Vulkan{n}: NVIDIA GeForce {name} (12288 MiB, 9000 MiB free)" for n, name in enumerate(lines)))
    for place, name in enumerate(names):
        plan = plan_of(machine, vulkan, gpu_uuids=(f"GPU-{place}",))
        assert told(plan) == f"Vulkan{lines.index(name)}"
        assert plan.estimate.devices[0].free_bytes == (12 - place) * GIB


def test_a_nameless_card_is_used_and_not_the_cpu(plan_of: Any) -> None:
    machine = inventory(gpu(0, "AMD GPU 7551", AMD, 31.86, 1))
    vulkan = engine("Vulkan0: AMD Radeon Graphics (RADV GFX1201) (32624 MiB, 32000 MiB free)")
    for asked in ({"gpu_uuids": ("GPU-0",)}, {}):
        assert told(plan_of(machine, vulkan, **asked)) == "Vulkan0"


def mixed() -> Inventory:
    return inventory(
        gpu(0, "NVIDIA GeForce RTX 4090", NVIDIA, 24, 2),
        gpu(1, "AMD Radeon RX 7900 XTX", AMD, 24, 4),
        gpu(2, "NVIDIA GeForce RTX 3060", NVIDIA, 12, 1),
    )


CUDA = (f"CUDA0: {RTX}", "CUDA1: NVIDIA GeForce RTX 3060 (12288 MiB, 11000 MiB free)")
VULKAN = (f"Vulkan0: {XTX}", f"Vulkan1: {RTX}", "Vulkan2: NVIDIA GeForce RTX 3060 (12288 MiB, 11000 MiB free)")


def test_one_backend_takes_all_where_it_can(plan_of: Any) -> None:
    both = engine(*CUDA, *VULKAN)
    plan = plan_of(mixed(), both, gpu_uuids=("GPU-1", "GPU-2", "GPU-0"))
    assert told(plan) == "Vulkan0,Vulkan2,Vulkan1"
    assert env_of(plan) == {}
    alone = plan_of(mixed(), both, gpu_uuids=("GPU-2", "GPU-0"))
    assert told(alone) == "CUDA0,CUDA1"
    assert env_of(alone) == {"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-0"}


@pytest.mark.parametrize(
    ("asked", "devices", "mask"),
    [
        ((1, 2), "Vulkan0,CUDA0", "GPU-2"),
        ((0, 1, 2), "CUDA0,Vulkan0,CUDA1", "GPU-0,GPU-2"),
        ((2, 1, 0), "CUDA0,Vulkan0,CUDA1", "GPU-2,GPU-0"),
    ],
)
def test_a_number_behind_a_mask_counts_what_the_mask_shows(
    plan_of: Any, asked: tuple[int, ...], devices: str, mask: str
) -> None:
    plan = plan_of(mixed(), engine(*CUDA, VULKAN[0]), gpu_uuids=tuple(f"GPU-{n}" for n in asked))
    assert told(plan) == devices
    assert plan.device_names == tuple(devices.split(","))
    assert env_of(plan) == {"CUDA_VISIBLE_DEVICES": mask}


def test_two_masks_in_one_launch_are_refused_unless_another_backend_has_all(plan_of: Any) -> None:
    rocm = f"ROCm0: {XTX}"
    with pytest.raises(LaunchdeckError, match="one vendor"):
        plan_of(mixed(), engine(*CUDA, rocm), gpu_uuids=("GPU-0", "GPU-1"))
    plan = plan_of(mixed(), engine(*CUDA, rocm, *VULKAN), gpu_uuids=("GPU-0", "GPU-1"))
    assert (told(plan), env_of(plan)) == ("Vulkan1,Vulkan0", {})
    half = plan_of(mixed(), engine(*CUDA, rocm, VULKAN[0]), gpu_uuids=("GPU-0", "GPU-1"))
    assert (told(half), env_of(half)) == ("CUDA0,Vulkan0", {"CUDA_VISIBLE_DEVICES": "GPU-0"})
    # another engine that can is taken before it is refused
    other = replace(engine(*VULKAN), path=Path("/opt/vulkan/llama-server"))
    assert plan_of(mixed(), engine(*CUDA, rocm), other, gpu_uuids=("GPU-0", "GPU-1")).engine is other


def test_where_the_engine_sees_less_than_the_driver_the_engine_is_believed(plan_of: Any) -> None:
    machine = inventory(gpu(0, "NVIDIA A100-SXM4-80GB", NVIDIA, 80, 2))
    for backend in ("CUDA", "Vulkan"):
        sliced = engine(f"{backend}0: NVIDIA A100-SXM4-80GB MIG 1g.10gb (9856 MiB, 9700 MiB free)")
        plan = plan_of(machine, sliced, gpu_uuids=("GPU-0",))
        assert plan.estimate.devices[0].free_bytes == (9856 - 2048) * MIB, "what was free at the listing is old"
        assert "sees 9856 MiB of GPU 0" in " ".join(map(str, plan.warnings))
    whole = plan_of(machine, engine("CUDA0: NVIDIA A100-SXM4-80GB (81037 MiB, 79000 MiB free)"), gpu_uuids=("GPU-0",))
    assert (whole.estimate.devices[0].free_bytes, whole.warnings) == (78 * GIB, ())


def test_of_what_the_engine_sees_others_use_and_are_promised_some(plan_of: Any) -> None:
    reading = replace(gpu(0, "NVIDIA A100-SXM4-80GB", NVIDIA, 80, 3), promises=(Promise("coder", 2 * GIB),))
    sliced = engine("Vulkan0: NVIDIA A100-SXM4-80GB MIG 1g.10gb (10240 MiB, 10240 MiB free)")
    assert plan_of(inventory(reading), sliced, gpu_uuids=("GPU-0",)).estimate.devices[0].free_bytes == 5 * GIB


@pytest.mark.parametrize(("total", "free"), [(None, 24 * GIB), (20 * GIB, 20 * GIB)])
def test_of_a_card_that_sleeps_the_listing_has_the_size_where_the_driver_has_none(
    plan_of: Any, total: int | None, free: int
) -> None:
    reading = gpu(0, "NVIDIA GeForce RTX 4090", NVIDIA, 24, 0)
    asleep = replace(
        reading,
        gpu=replace(reading.gpu, total_memory_bytes=total),
        sample=GpuSample(1000.0, state=GpuState.ASLEEP),
    )
    listed = engine(f"Vulkan0: {RTX}")
    plan = plan_of(inventory(asleep), listed, gpu_uuids=("GPU-0",))
    assert plan.estimate.devices[0].free_bytes == free
    assert plan_of(inventory(asleep), listed).layers.resolved > 0
    promised = replace(asleep, promises=(Promise("coder", GIB),))
    assert plan_of(inventory(promised), listed, gpu_uuids=("GPU-0",)).estimate.devices[0].free_bytes == free - GIB


def test_where_it_cannot_be_told_which_device_it_is_the_launch_is_refused(plan_of: Any) -> None:
    machine = inventory(*twins(2, 2))
    with pytest.raises(LaunchdeckError, match=r"lists Vulkan0: which of them GPU 1 \(NVIDIA GeForce RTX 4090\)"):
        plan_of(machine, engine(f"Vulkan0: {RTX}"), gpu_uuids=("GPU-1",))
    with pytest.raises(LaunchdeckError, match="can use"):  # one that cannot be told which device to take
        plan_of(inventory(*twins(2)), engine(f"Vulkan0: {RTX}", able=False), gpu_uuids=("GPU-0",))


def test_kernels_count_as_those_of_cuda_only_where_they_are_used(plan_of: Any) -> None:
    """One launch over two vendors goes by Vulkan, which has flash attention for any cache."""
    both = engine(*CUDA, *VULKAN)
    asked = {"cache_type_k": "q8_0", "cache_type_v": "f16"}
    assert plan_of(mixed(), both, gpu_uuids=("GPU-0",), **asked).flash_attention is False
    assert plan_of(mixed(), both, gpu_uuids=("GPU-0", "GPU-1"), **asked).flash_attention is True
