"""What the driver takes besides the buffers, learned from real starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes import gguf_models, samples
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.gpu import GpuProcess, GpuType, Inventory
from launchdeck.domain.plan import Tier
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.engines.residuals import LARGEST_BYTES, Residuals
from launchdeck.files.later import finish_writing
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

MIB = 1024 * 1024
PID = 4242
BUFFERS = sum(buffer.size_bytes for buffer in samples.APPLIED.buffers if buffer.device == "CUDA0")


def machine(held_bytes: int | None, at_s: float = 2000.0, driver: str = "580.1") -> Inventory:
    reading = samples.gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 10)
    processes = (GpuProcess(PID, "llama-server", held_bytes), GpuProcess(1, "another", 3 * samples.GIB))
    reading = replace(
        reading,
        gpu=replace(reading.gpu, driver_version=driver),
        sample=replace(reading.sample, processes=processes),
    )
    return replace(samples.inventory(reading), sampled_at_s=at_s)


def running(key: str = "d1", **changes: object) -> Deployment:
    return samples.deployment(key, **({"ready_at_s": 1990.0, "pids": (PID,)} | changes))


def learned(residuals: Residuals, inventory: Inventory) -> int | None:
    return residuals.get(inventory.gpus[0].gpu, samples.LLAMA_SERVER)


def test_it_is_what_the_driver_counts_beyond_the_engine(tmp_path: Path) -> None:
    inventory = machine(BUFFERS + 412 * MIB)
    residuals = Residuals(tmp_path / "residuals.json")
    residuals.learn(running(), inventory)
    assert learned(residuals, inventory) == 412 * MIB
    assert finish_writing(20)
    assert learned(Residuals(tmp_path / "residuals.json"), inventory) == 412 * MIB


def test_another_driver_or_build_is_another_case() -> None:
    residuals = Residuals()
    residuals.learn(running(), machine(BUFFERS + 412 * MIB))
    assert learned(residuals, machine(0, driver="590.2")) is None
    gpu = machine(0).gpus[0].gpu
    assert residuals.get(gpu, replace(samples.LLAMA_SERVER, build=9999)) is None
    assert residuals.get(replace(gpu, uuid="GPU-other"), samples.LLAMA_SERVER) is None


@pytest.mark.parametrize(
    ("deployment", "inventory"),
    [
        (running(state=State.LOADING), machine(BUFFERS + 412 * MIB)),
        (running(), machine(BUFFERS + 412 * MIB, at_s=1990.5)),
        (running(), machine(None)),
        (running(), machine(BUFFERS - 1)),
        (running(), machine(BUFFERS + LARGEST_BYTES + 1)),
        (running(pids=(7,)), machine(BUFFERS + 412 * MIB)),
        (running(), replace(machine(BUFFERS + 412 * MIB), replayed=True)),
    ],
)
def test_what_says_nothing_teaches_nothing(deployment: Deployment, inventory: Inventory) -> None:
    residuals = Residuals()
    residuals.learn(deployment, inventory)
    assert learned(residuals, inventory) is None


def test_a_deployment_teaches_once_and_the_next_one_again() -> None:
    residuals = Residuals()
    for key, extra, known in (("a", 400, 400), ("a", 300, 400), ("b", 390, 390)):
        residuals.learn(running(key), machine(BUFFERS + extra * MIB))
        assert learned(residuals, machine(0)) == known * MIB


def test_what_a_model_takes_while_it_is_used_is_not_expected_of_others() -> None:
    residuals = Residuals()
    for key, extra in (("a", 589), ("b", 869)):
        residuals.learn(running(key), machine(BUFFERS + extra * MIB))
    assert learned(residuals, machine(0)) == 589 * MIB


def test_the_next_plan_on_that_gpu_uses_it_and_says_so(tmp_path: Path) -> None:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "state", "cache", "runtime")))
    planner = Planner(Settings, paths)
    planner.engines = (samples.LLAMA_SERVER,)
    request = ModelLoadRequest(gguf_models.llama().write(tmp_path / "m.gguf"), gpu_uuids=("GPU-0",))
    planner.prepare(request.model_path)
    planner.inventory = machine(BUFFERS + 412 * MIB)
    before = planner.preview(request, 8001)
    planner.on_deployment(running())
    planner.inventory = machine(BUFFERS + 412 * MIB, at_s=2005.0)
    after = planner.preview(request, 8001)
    assert before is not None
    assert after is not None
    assert (before.estimate.devices[0].overhead_tier, after.estimate.devices[0].overhead_tier) == (
        Tier.FORMULA,
        Tier.MEASURED,
    )
    assert after.estimate.devices[0].overhead_bytes == 412 * MIB
