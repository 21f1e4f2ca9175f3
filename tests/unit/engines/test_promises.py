"""What launches were promised, and when that ends: by readings, as the planner hears of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import gguf_models, samples
from fakes.samples import GIB, gpu, inventory
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.gpu import GpuProcess, GpuReading, GpuState, GpuType, Inventory, Promise
from launchdeck.domain.plan import DeviceEstimate, EngineKind, Estimate, LaunchPlan, PlannedGpu, Verdict
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.engines.devices.devices import free_bytes
from launchdeck.engines.devices.shared_ram import with_host
from launchdeck.engines.planner import Planner
from launchdeck.engines.promises import promises, with_promises
from launchdeck.serving.records.codec import from_json, to_json
from launchdeck.settings.schema import Settings

PID = 4242
PREDICTED = 11 * GIB
WEIGHTS, CACHE, PROMPTS = 3 * GIB, 2 * GIB, 4 * GIB
FREE_RAM = int(45.8 * GIB)
READY_S = 900.0


def machine(
    *held_bytes: int | None, at_s: float = 1000.0, integrated: bool = False, state: GpuState = GpuState.ACTIVE
) -> Inventory:
    """One GPU with 20 GiB free, on which the driver counts these bytes for the deployment's process, if any."""
    reading = gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 4)
    processes = (GpuProcess(7, "python", GIB), *(GpuProcess(PID, "llama-server", held) for held in held_bytes))
    reading = replace(
        reading,
        gpu=replace(reading.gpu, integrated=integrated),
        sample=replace(reading.sample, processes=processes, sampled_at_s=at_s, state=state),
    )
    whole = inventory(reading)
    cpu = replace(whole.cpu, sample=replace(whole.cpu.sample, sampled_at_s=at_s))
    return replace(whole, cpu=cpu, sampled_at_s=at_s)


def launch(state: State = State.LOADING, name: str = "coder", **changes: Any) -> Deployment:
    """All of one file."""
    host = DeviceEstimate("CPU", WEIGHTS, CACHE, 0, PROMPTS, 40 * GIB)
    device = DeviceEstimate("GPU 0", PREDICTED, 0, 0, 0, 20 * GIB)
    plan = replace(samples.plan(name), estimate=Estimate((device,), host), gpus=(PlannedGpu(5, "GPU-0", "RTX 4090"),))
    plan = replace(plan, request=replace(plan.request, model_path=samples.plan("coder").request.model_path))
    values: dict[str, Any] = {"plan": plan, "pids": (PID,), "ready_at_s": None}
    return samples.deployment(name, name, state, **(values | changes))


def on_gpu(seen: Inventory, *deployments: Deployment, before_s: float | None = None) -> int:
    (reading,) = with_promises(seen, promises(deployments, seen, before_s=before_s)).gpus
    return reading.promised_bytes


def in_ram(seen: Inventory, *deployments: Deployment, shared: Path | None = None) -> int:
    return with_promises(seen, promises(deployments, seen, before_s=None, shared=shared)).cpu.promised_bytes


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING, State.LOADING])
def test_a_launch_is_promised_all_that_was_predicted(state: State) -> None:
    seen = machine()
    told = with_promises(seen, promises([launch(state)], seen, before_s=None))
    assert told.gpus[0].promises == (Promise("coder", PREDICTED),)
    assert told.gpus[0].sample is seen.gpus[0].sample, "what was measured stays what it was"


@pytest.mark.parametrize("state", [State.STOPPING, State.STOPPED, State.FAILED])
def test_what_ends_takes_no_more(state: State) -> None:
    assert on_gpu(machine(), launch(state)) == 0
    assert in_ram(machine(), launch(state)) == 0


@pytest.mark.parametrize(("held", "left"), [(3 * GIB, 8 * GIB), (PREDICTED, 0), (12 * GIB, 0)])
def test_what_it_holds_already_is_counted_once(held: int, left: int) -> None:
    assert on_gpu(machine(held), launch()) == left


def test_the_first_reading_of_a_ready_engine_shows_all_where_the_driver_counts() -> None:
    running = launch(State.RUNNING, ready_at_s=READY_S)
    assert on_gpu(machine(10 * GIB, at_s=READY_S - 1), running) == GIB
    assert on_gpu(machine(10 * GIB, at_s=READY_S + 1), running) == 0


@pytest.mark.parametrize("held", [(), (None,)], ids=["not listed", "not counted"])
def test_where_the_driver_does_not_count_the_second_reading_ends_it(held: tuple[None, ...]) -> None:
    running = launch(State.RUNNING, ready_at_s=READY_S)
    seen = machine(*held, at_s=READY_S + 6)
    assert on_gpu(seen, running, before_s=READY_S - 4) == PREDICTED
    assert on_gpu(seen, running, before_s=READY_S + 1) == 0


def test_what_has_run_for_long_when_it_is_adopted_is_in_the_first_reading() -> None:
    running = launch(State.RUNNING, ready_at_s=READY_S, adopted=True)
    assert on_gpu(machine(at_s=READY_S + 3600), running) == 0


def test_no_more_is_promised_than_is_free_and_the_first_comes_first() -> None:
    seen = machine()
    told = with_promises(seen, promises([launch(), launch(name="writer")], seen, before_s=None)).gpus[0]
    assert told.promises == (Promise("coder", PREDICTED), Promise("writer", 20 * GIB - PREDICTED))


def test_of_a_sleeping_gpu_all_memory_can_be_promised() -> None:
    assert on_gpu(machine(state=GpuState.ASLEEP), launch()) == PREDICTED


def test_an_integrated_gpu_and_ram_are_one_memory() -> None:
    seen = machine(integrated=True)
    told = with_promises(seen, promises([launch()], seen, before_s=None))
    wanted = (Promise("coder", PREDICTED + WEIGHTS + CACHE + PROMPTS, PROMPTS),)
    assert (told.gpus[0].promises, told.cpu.promises) == (wanted, wanted)


def shared_memory(set_aside_gib: int, ram_free_gib: int = 40) -> Inventory:
    """A GPU inside a processor, which has the free RAM and a part that was set aside for it."""
    whole = machine(integrated=True)
    (reading,), cpu = whole.gpus, whole.cpu
    sample = replace(reading.sample, free_memory_bytes=(set_aside_gib + ram_free_gib) * GIB)
    reading = replace(reading, sample=sample, gpu=replace(reading.gpu, total_memory_bytes=100 * GIB))
    return replace(
        whole,
        gpus=(reading,),
        cpu=replace(cpu, sample=replace(cpu.sample, free_memory_bytes=ram_free_gib * GIB)),
    )


@pytest.mark.parametrize("set_aside_gib", [0, 4, 11, 16, 30])
@pytest.mark.parametrize("count", [1, 2])
def test_what_was_set_aside_for_a_gpu_is_taken_before_ram_and_each_byte_once(set_aside_gib: int, count: int) -> None:
    """On the GPU 11 GiB each, in RAM 2 GiB each."""
    seen = shared_memory(set_aside_gib)
    launches = [launch(name=f"m{number}", plan=small_host(f"m{number}", cache_gib=2)) for number in range(count)]
    told = with_promises(seen, promises(launches, seen, before_s=None))
    (card,), cpu = told.gpus, told.cpu
    on_gpu_gib, host_gib = 11 * count, 2 * count
    beyond_gib = max(on_gpu_gib - set_aside_gib, 0)
    assert cpu.promised_bytes == (host_gib + beyond_gib) * GIB
    assert card.promised_bytes == (on_gpu_gib + host_gib) * GIB
    # what is left is one memory: that of the RAM, and what is left of the part that was set aside
    left_of_it = max(set_aside_gib - on_gpu_gib, 0)
    assert free_bytes(card) == (free_bytes(cpu) or 0) + left_of_it * GIB
    # and a launch that comes now finds exactly that: it fits to the byte, and not with one more
    for more, fits in ((0, True), (1, False)):
        device = DeviceEstimate("GPU 0", (free_bytes(card) or 0) - GIB + more, 0, 0, 0, free_bytes(card))
        estimate = with_host(Estimate((device,), DeviceEstimate("CPU", 0, GIB, 0, 0, None)), (card,), free_bytes(cpu))
        assert (estimate.devices[0].fits, estimate.host.fits) == (True, fits)


def small_host(name: str, cache_gib: int) -> LaunchPlan:
    plan = launch(name=name).plan
    return replace(plan, estimate=replace(plan.estimate, host=DeviceEstimate("CPU", 0, cache_gib * GIB, 0, 0, None)))


def test_what_fills_the_part_that_was_set_aside_takes_no_ram() -> None:
    seen = shared_memory(16)
    discrete = replace(seen.gpus[0], gpu=replace(seen.gpus[0].gpu, uuid="GPU-1", integrated=False))
    told = with_promises(replace(seen, gpus=(*seen.gpus, discrete)), promises([launch()], seen, before_s=None))
    assert [reading.promised_bytes // GIB for reading in (*told.gpus, told.cpu)] == [11 + 9, 0, 9]
    assert told.cpu.promises == (Promise("coder", WEIGHTS + CACHE + PROMPTS, PROMPTS),)


def test_a_gpu_that_is_not_there_is_promised_to_nobody() -> None:
    seen = inventory(replace(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 4), gpu=replace(machine().gpus[0].gpu, uuid="x")))
    assert on_gpu(seen, launch()) == 0


@pytest.mark.parametrize(
    ("own_bytes", "ready_at_s", "left"),
    [
        (None, None, WEIGHTS + CACHE + PROMPTS),
        (GIB, None, WEIGHTS + CACHE + PROMPTS - GIB),
        (CACHE, READY_S, WEIGHTS + PROMPTS),
        (0, READY_S, WEIGHTS + PROMPTS),  # pinned by a driver, and counted for nobody
        (CACHE + PROMPTS, READY_S, WEIGHTS),  # the prompts have come
        (WEIGHTS + CACHE + PROMPTS, READY_S, 0),  # weights that were copied
    ],
)
def test_in_ram_the_kernel_counts_what_is_the_processes_own(
    own_bytes: int | None, ready_at_s: float | None, left: int
) -> None:
    state = State.LOADING if ready_at_s is None else State.RUNNING
    assert in_ram(machine(), launch(state, own_ram_bytes=own_bytes, ready_at_s=ready_at_s)) == left


def test_a_file_is_mapped_by_two_models_once() -> None:
    one, two = launch(), launch(name="writer")
    rest = CACHE + PROMPTS
    assert in_ram(machine(), one, two) == min(WEIGHTS + 2 * rest, FREE_RAM)
    assert in_ram(machine(), one, shared=one.plan.request.model_path) == rest
    assert in_ram(machine(), one, shared=Path("/models/another.gguf")) == WEIGHTS + rest
    other = replace(two, plan=replace(two.plan, request=replace(two.plan.request, model_path=Path("/models/b.gguf"))))
    assert in_ram(machine(), one, other) == 2 * (WEIGHTS + rest)


def test_of_a_file_the_most_that_one_has_mapped_counts() -> None:
    few, many = launch(), launch(name="writer")
    host = replace(many.plan.estimate.host, weights_bytes=5 * WEIGHTS)
    many = replace(many, plan=replace(many.plan, estimate=replace(many.plan.estimate, host=host)))
    for order in ((few, many), (many, few)):
        assert in_ram(machine(), *order) == 5 * WEIGHTS + 2 * (CACHE + PROMPTS)


@pytest.mark.parametrize(
    ("words", "is_mapped"),
    [
        ((), True),
        (("--load-mode", "mmap+mlock"), True),
        (("--mlock",), True),
        (("--no-mmap",), False),
        (("--load-mode", "none"), False),
        (("--load-mode", "dio"), False),
        (("--load-mode", "mlock"), False),
    ],
)
def test_only_what_is_mapped_is_shared_and_stays_promised(words: tuple[str, ...], is_mapped: bool) -> None:
    def told(*words: str, **changes: Any) -> Deployment:
        one = launch(**changes)
        return replace(one, plan=replace(one.plan, request=replace(one.plan.request, extra_args=words)))

    path, rest = launch().plan.request.model_path, CACHE + PROMPTS
    assert in_ram(machine(), told(*words), shared=path) == rest + (0 if is_mapped else WEIGHTS)
    assert in_ram(machine(), told(*words), told(name="writer")) == 2 * rest + (1 if is_mapped else 2) * WEIGHTS
    running = told(*words, state=State.RUNNING, ready_at_s=READY_S, own_ram_bytes=0)
    assert in_ram(machine(), running) == PROMPTS + (WEIGHTS if is_mapped else 0)


def test_what_vllm_has_in_ram_is_a_copy() -> None:
    one = launch()
    vllm = replace(one, plan=replace(one.plan, engine=replace(one.plan.engine, kind=EngineKind.VLLM)))
    assert in_ram(machine(), vllm, shared=one.plan.request.model_path) == WEIGHTS + CACHE + PROMPTS


def test_who_maps_less_of_a_file_than_another_leaves_that_one_what_it_needs(planner: Planner, model: Path) -> None:
    """On the CPU one has all of it in RAM; a second one, on a GPU, needs next to nothing of it."""
    on_cpu = planned(planner, model, gpu_uuids=(), cache_ram_mib=0)
    on_gpu: dict[str, Any] = {"gpu_uuids": ("GPU-0",), "n_gpu_layers": ALL_LAYERS, "cache_ram_mib": 0}
    alone = planned(planner, model, **on_gpu, model_id="second").estimate.host
    planner.on_deployment(queued(on_cpu))
    beside = planned(planner, model, **on_gpu, model_id="second").estimate.host
    taken = (alone.free_bytes or 0) - alone.total_bytes - ((beside.free_bytes or 0) - beside.total_bytes)
    assert taken == on_cpu.estimate.host.total_bytes - alone.weights_bytes, "its weights are a part of the other's"


def test_a_launch_that_reads_a_copy_shares_nothing(planner: Planner, model: Path) -> None:
    on_cpu: dict[str, Any] = {"gpu_uuids": (), "model_id": "second"}
    first = planned(planner, model, gpu_uuids=(), cache_ram_mib=0)
    planner.on_deployment(queued(first))
    free = {
        words: planned(planner, model, **on_cpu, extra_args=words).estimate.host.free_bytes or 0
        for words in ((), ("--no-mmap",))
    }
    assert free[()] - free["--no-mmap",] == first.estimate.host.weights_bytes


# On the planner


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 GiB."""
    shape = {"n_layer": 40, "n_embd": 5120, "n_head": 40, "n_head_kv": 8, "n_ff": 17408, "head_dim": 128}
    dense = gguf_models.llama(architecture="qwen3", n_vocab=151936, n_ctx=40960, quant="q4_k", head_norm=True, **shape)
    return dense.write(tmp_path_factory.mktemp("models") / "dense.gguf")


@pytest.fixture
def planner(model: Path) -> Planner:
    planner = Planner(Settings)
    planner.engines = (samples.LLAMA_SERVER,)
    planner.inventory = inventory(*(gpu(n, "RTX 4090", GpuType.NVIDIA, 24, used) for n, used in ((0, 2), (1, 4))))
    planner.prepare(model)
    return planner


def planned(planner: Planner, model: Path, **changes: Any) -> LaunchPlan:
    plan = planner.preview(ModelLoadRequest(model, **changes), 8001)
    assert plan is not None
    return plan


def queued(plan: LaunchPlan, key: str = "d1") -> Deployment:
    return Deployment(key, plan, State.QUEUED, created_at_s=1000.0)


def test_the_gpu_with_the_most_memory_is_the_one_that_is_promised_to_nobody(planner: Planner, model: Path) -> None:
    first = planned(planner, model)
    assert [one.uuid for one in first.gpus] == ["GPU-0"]
    planner.on_deployment(queued(first))
    second = planned(planner, model)
    assert [one.uuid for one in second.gpus] == ["GPU-1"]
    planner.on_deployment(queued(second, "d2"))
    third = planned(planner, model)
    (device,) = third.estimate.devices
    assert device.total_bytes + third.margin_bytes <= (device.free_bytes or 0)
    assert device.promises[0].model_id == second.model_id or device.promises[0].model_id == first.model_id


def test_a_launch_is_promised_nothing_of_its_own_when_it_is_planned_again(planner: Planner, model: Path) -> None:
    plan = planned(planner, model, gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS)
    planner.on_deployment(queued(plan))
    again = planned(planner, model, gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS, model_id=plan.model_id)
    assert again.estimate == plan.estimate
    assert again.argv == plan.argv
    other = planned(planner, model, gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS, model_id="other")
    assert other.estimate.devices[0].promised_bytes == plan.estimate.devices[0].total_bytes


def test_a_recorded_machine_is_not_the_one_that_models_run_on(planner: Planner, model: Path) -> None:
    """Its GPUs may have the same names, and its processes the same numbers."""
    seen = planner.inventory
    assert seen is not None
    recorded = replace(seen, replayed=True, gpus=(holding(seen.gpus[0], 8 * GIB), seen.gpus[1]))
    planner.on_deployment(
        replace(queued(planned(planner, model, gpu_uuids=("GPU-0",))), state=State.LOADING, pids=(PID,))
    )
    planner.inventory = recorded
    assert planner.inventory == recorded
    (device,) = planned(planner, model, gpu_uuids=("GPU-0",), model_id="other").estimate.devices
    assert (device.free_bytes, device.promises) == (14 * GIB, ())
    planner.on_deployment(replace(queued(planned(planner, model)), state=State.STOPPED, pids=(PID,)))
    assert planner.inventory == recorded, "what has ended here is not free there"


def test_between_two_attempts_the_dead_hold_nothing_and_the_promise_stands(planner: Planner, model: Path) -> None:
    plan = planned(planner, model, gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS)
    loading = replace(queued(plan), state=State.LOADING, pids=(PID,))
    planner.on_deployment(loading)
    held = plan.estimate.devices[0].total_bytes
    seen = planner.inventory
    assert seen is not None
    planner.inventory = replace(seen, gpus=(holding(seen.gpus[0], held), seen.gpus[1]))
    assert planned(planner, model, gpu_uuids=("GPU-0",), model_id="other").estimate.devices[0].promised_bytes == 0
    planner.on_deployment(replace(loading, state=State.QUEUED, pids=()))
    (device,) = planned(planner, model, gpu_uuids=("GPU-0",), model_id="other").estimate.devices
    assert device.promised_bytes == held
    assert (device.free_bytes or 0) + held == 22 * GIB


def holding(reading: GpuReading, held_bytes: int) -> GpuReading:
    sample = replace(
        reading.sample,
        used_memory_bytes=(reading.sample.used_memory_bytes or 0) + held_bytes,
        free_memory_bytes=(reading.sample.free_memory_bytes or 0) - held_bytes,
        processes=(GpuProcess(PID, "llama-server", held_bytes),),
    )
    return replace(reading, promises=(), sample=sample)


def test_a_refusal_names_the_promise_or_who_holds_the_memory(planner: Planner, model: Path) -> None:
    ask = {"gpu_uuids": ("GPU-0",), "n_gpu_layers": ALL_LAYERS}
    fitting = planned(planner, model, **ask)
    assert planner.refuse(fitting) is None
    for key in ("one", "two"):
        planner.on_deployment(queued(planned(planner, model, **ask, model_id=key), key))
    planner.on_deployment(replace(queued(fitting, "one"), plan=replace(fitting, model_id="one"), state=State.LOADING))
    refused = planner.refuse(planned(planner, model, **ask))
    assert refused is not None
    assert str(refused.message).endswith("promised to one, two.")
    for key in ("one", "two"):
        planner.on_deployment(replace(queued(fitting, key), state=State.STOPPED))
    seen = planner.inventory
    assert seen is not None
    planner.inventory = replace(seen, gpus=(holding(seen.gpus[0], 20 * GIB), seen.gpus[1]))
    refused = planner.refuse(planned(planner, model, **ask))
    assert refused is not None
    assert str(refused.message).endswith(f"20.0 held by llama-server (pid {PID}).")


def test_a_refusal_tells_how_much_of_a_promise_is_for_prompts(planner: Planner, model: Path) -> None:
    """It fills in time, and never may: with --cache-ram 0 there would be room."""
    on_cpu: dict[str, Any] = {"gpu_uuids": (), "extra_args": ("--no-mmap",)}
    keeper = planned(planner, model, **on_cpu, cache_ram_mib=30 * 1024)
    planner.on_deployment(queued(keeper))
    refused = planner.refuse(planned(planner, model, **on_cpu, model_id="second"))
    assert refused is not None
    assert "GiB of RAM" in str(refused.message)
    assert str(refused.message).endswith(f"promised to {keeper.model_id}, up to 30.0 of it for prompts that are kept.")


def test_what_is_told_of_a_promise_stays_in_the_plan_and_old_plans_have_none() -> None:
    device = replace(samples.device_estimate("GPU 0", 11, 12), promises=(Promise("coder", GIB),))
    assert from_json(DeviceEstimate, to_json(device)) == device
    old = {name: value for name, value in to_json(device).items() if name != "promises"}
    assert from_json(DeviceEstimate, old).promised_bytes == 0
    assert device.verdict(0) is Verdict.FITS
