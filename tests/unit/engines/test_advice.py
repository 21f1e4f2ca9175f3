"""What would make a launch fit, on the real planner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import gguf_models, gguf_zoo, samples
from fakes.samples import gpu, inventory
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.gpu import GpuProcess, GpuType, Inventory
from launchdeck.domain.plan import EngineKind, LaunchPlan, Verdict
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines import advice
from launchdeck.engines.adapter import Findings
from launchdeck.engines.fixes import NO_EXTRA_ARGS, RUN_ON_CPU, fewer_slots
from launchdeck.engines.naming import device_name
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.settings.schema import Settings

GIB = 1024**3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dense one of 8 GiB, and a mixture of 24 blocks with 8 GiB of experts."""
    folder = tmp_path_factory.mktemp("models")
    shape = {"n_layer": 40, "n_embd": 5120, "n_head": 40, "n_head_kv": 8, "n_ff": 17408, "head_dim": 128}
    dense = gguf_models.llama(architecture="qwen3", n_vocab=151936, n_ctx=40960, quant="q4_k", head_norm=True, **shape)
    return {"dense": dense.write(folder / "dense.gguf"), "mixture": gguf_zoo.qwen3moe().write(folder / "mixture.gguf")}


@pytest.fixture
def planner(models: dict[str, Path]) -> Planner:
    planner = Planner(Settings)
    planner.engines = (samples.LLAMA_SERVER,)
    for path in models.values():
        planner.prepare(path)
    return planner


def machine(*free_gib: float) -> Inventory:
    return inventory(*(gpu(n, "RTX 4090", GpuType.NVIDIA, 24, 24 - free) for n, free in enumerate(free_gib)))


def offers(planner: Planner, request: ModelLoadRequest) -> tuple[LaunchPlan, list[dict[str, Any]]]:
    """The plan, and the changes offered; every one of them is tried out here as well."""

    def preview(asked: ModelLoadRequest) -> LaunchPlan | None:
        return planner.preview(asked, 8001)

    plan = preview(request)
    assert plan is not None
    found = [dict(fix.changes) for fix in advice.fixes(plan, preview)]
    for changes in found:
        changed = preview(replace(request, **changes))
        assert changed is not None
        assert changed.verdict is Verdict.FITS, changes
    return plan, found


def test_what_fits_needs_no_advice(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(20)
    assert offers(planner, ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",)))[1] == []


def test_another_gpu_costs_nothing_and_comes_first(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(4, 20)
    plan, found = offers(planner, ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS))
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert found[0]["gpu_uuids"] == ("GPU-1",)
    assert found[-1] == {"n_gpu_layers": plan.layers.largest_that_fits}


def test_a_long_context_can_be_stored_smaller_or_shortened(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(14)
    request = ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS, n_ctx=40960)
    plan, found = offers(planner, request)
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert found[0] == {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    longest = found[1]["n_ctx"]
    assert 1024 <= longest < 40960
    longer = planner.preview(replace(request, n_ctx=longest + 256), 8001)
    assert longer is not None
    assert longer.verdict is not Verdict.FITS
    assert found[2] == {"n_gpu_layers": plan.layers.largest_that_fits}


def test_experts_in_ram_keep_all_layers_on_the_gpu(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(6)
    plan, found = offers(planner, ModelLoadRequest(models["mixture"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS))
    assert found[0] == {"n_gpu_layers": ALL_LAYERS, "n_cpu_moe": plan.layers.fewest_experts_in_ram}
    fewer = replace(plan.request, n_cpu_moe=found[0]["n_cpu_moe"] - 1)
    tried = planner.preview(fewer, 8001)
    assert tried is not None
    assert tried.verdict is not Verdict.FITS


def test_they_are_offered_where_auto_has_to_leave_layers_out(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(6)
    plan, found = offers(planner, ModelLoadRequest(models["mixture"], gpu_uuids=("GPU-0",)))
    assert plan.verdict is Verdict.FITS
    assert plan.layers.resolved < plan.layers.total
    assert [list(changes) for changes in found] == [["n_gpu_layers", "n_cpu_moe"]]


def test_where_nothing_helps_nothing_is_offered(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(0.3)
    plan, found = offers(planner, ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS))
    assert (plan.verdict, found) == (Verdict.DOES_NOT_FIT, [])


def test_without_knowledge_of_the_free_memory_there_is_no_advice(planner: Planner, models: dict[str, Path]) -> None:
    (reading,) = machine(6).gpus
    planner.inventory = inventory(replace(reading, sample=replace(reading.sample, free_memory_bytes=None)))
    assert offers(planner, ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",)))[1] == []


def test_the_search_survives_refusals(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(6)
    plan = planner.preview(ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS), 8001)
    assert plan is not None

    def refuse(_request: ModelLoadRequest) -> LaunchPlan:
        raise LaunchdeckError.of(Cause.BAD_REQUEST, Message("no"))

    assert advice.largest_context(plan, refuse) is None
    assert [dict(fix.changes) for fix in advice.fixes(plan, refuse)] == [
        {"n_gpu_layers": plan.layers.largest_that_fits}
    ]


class TestMemoryGivenBack:
    def held(self, pid: int) -> Inventory:
        (reading,) = machine(6).gpus
        sample = replace(reading.sample, processes=(GpuProcess(pid, "llama-server", 10 * GIB),))
        return inventory(replace(reading, sample=sample))

    def test_what_a_model_held_is_free_as_soon_as_it_has_ended(self, planner: Planner, models: dict[str, Path]) -> None:
        planner.inventory = self.held(4242)
        request = ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",))
        before = planner.preview(request, 8001)
        running = samples.deployment(pids=(4242,))
        planner.on_deployment(running)
        planner.on_deployment(replace(running, state=State.STOPPED, pids=()))
        after = planner.preview(request, 8001)
        assert before is not None
        assert after is not None
        assert before.estimate.devices[0].free_bytes == 6 * GIB
        assert after.estimate.devices[0].free_bytes == 16 * GIB
        assert before.layers.resolved < after.layers.resolved == after.layers.total

    def test_what_a_model_holds_comes_back_for_its_own_restart(self, planner: Planner, models: dict[str, Path]) -> None:
        planner.inventory = self.held(4242)
        request = ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",))
        running = samples.deployment(pids=(4242,), own_ram_bytes=3 * GIB)
        planner.on_deployment(running)
        other = planner.preview(replace(request, model_id="another"), 8001)
        again = planner.preview(replace(request, model_id=running.plan.model_id), 8001)
        assert other is not None
        assert again is not None
        assert (other.estimate.devices[0].free_bytes, again.estimate.devices[0].free_bytes) == (6 * GIB, 16 * GIB)
        assert again.estimate.host.free_bytes - other.estimate.host.free_bytes == 3 * GIB

    def test_it_is_not_given_back_twice(self, planner: Planner) -> None:
        running: Deployment = samples.deployment(pids=(4242,))
        planner.inventory = self.held(4242)
        planner.on_deployment(running)
        planner.on_deployment(replace(running, state=State.FAILED))
        planner.inventory = machine(16)
        assert planner.inventory is not None
        assert planner.inventory.gpus[0].sample.free_memory_bytes == 16 * GIB
        planner.inventory = self.held(4242)  # the number belongs to another process by now
        assert planner.inventory.gpus[0].sample.free_memory_bytes == 6 * GIB


OUT_OF_MEMORY_LINES = {
    "weights": "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    "cache": "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    "compute": "graph_reserve: failed to allocate compute buffers",
    "later": "ggml_cuda: CUDA error: out of memory",
}


@pytest.mark.parametrize("what", OUT_OF_MEMORY_LINES)
@pytest.mark.parametrize("free_gib", [20, 6])
def test_a_launch_that_ran_out_of_memory_gets_numbers_that_are_less(
    planner: Planner, models: dict[str, Path], what: str, free_gib: float
) -> None:
    """Whether it still fits by the planner's count, or another program has taken its memory meanwhile."""
    planner.inventory = machine(20)
    request = ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS, n_ctx=8192)
    plan = planner.preview(request, 8001)
    assert plan is not None
    assert plan.verdict is Verdict.FITS
    planner.inventory = machine(free_gib)
    failure = adapters()[EngineKind.LLAMA_SERVER].read_line(Findings(), OUT_OF_MEMORY_LINES[what]).failure
    assert failure is not None
    advised = planner.advise(plan, failure)
    name = device_name(plan, 0)
    assert replace(advised, fixes=(), message=failure.message) == replace(failure, fixes=())
    assert str(advised.message) == str(failure.message).replace("CUDA0", name)
    changes = [dict(fix.changes) for fix in advised.fixes]
    (layers,) = [change["n_gpu_layers"] for change in changes if "n_gpu_layers" in change]
    assert 0 < layers <= plan.layers.resolved - plan.layers.resolved // 8
    if free_gib == 6:
        now = planner.preview(replace(request, n_gpu_layers=None), 8001)
        assert now is not None
        assert layers == now.layers.resolved
    assert f"Use {layers} layers instead of 41" in [str(fix.label) for fix in advised.fixes]
    shorter = [change["n_ctx"] for change in changes if "n_ctx" in change]
    assert shorter == ([4096] if free_gib == 20 else []), "with all layers no context fits any more"


def test_on_the_cpu_no_number_of_layers_is_offered(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(20)
    plan = planner.preview(ModelLoadRequest(models["dense"], gpu_uuids=(), n_ctx=8192), 8001)
    assert plan is not None
    failure = adapters()[EngineKind.LLAMA_SERVER].read_line(Findings(), OUT_OF_MEMORY_LINES["cache"]).failure
    assert failure is not None
    offered = [dict(fix.changes) for fix in planner.advise(plan, failure).fixes]
    assert offered
    assert not [change for change in offered if "n_gpu_layers" in change]


def test_other_failures_keep_their_fixes(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(20)
    plan = planner.preview(ModelLoadRequest(models["dense"], gpu_uuids=("GPU-0",)), 8001)
    assert plan is not None
    failure = Failure(Cause.CRASHED, Message("It crashed."))
    assert planner.advise(plan, failure) == failure


def test_what_would_change_nothing_is_not_offered(planner: Planner, models: dict[str, Path]) -> None:
    planner.inventory = machine(20)
    offered = (RUN_ON_CPU, NO_EXTRA_ARGS, fewer_slots(1), Fix(Message("Use another port"), ()))
    failure = Failure(Cause.START_FAILED, Message("It failed."), fixes=offered)

    def fixes_of(**asked: Any) -> tuple[Fix, ...]:
        plan = planner.preview(ModelLoadRequest(models["dense"], **asked), 8001)
        assert plan is not None
        return planner.advise(plan, failure).fixes

    assert fixes_of(gpu_uuids=("GPU-0",), extra_args=("--mlock",)) == offered
    assert fixes_of(gpu_uuids=("GPU-0",), n_parallel=1) == (RUN_ON_CPU, offered[-1])
    assert fixes_of(gpu_uuids=()) == (fewer_slots(1), offered[-1])
