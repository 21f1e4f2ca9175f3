"""Files of earlier versions, which kept the places of GPUs, on machines whose list of GPUs is another one now."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fakes import samples
from fakes.gguf_models import llama
from launchdeck.core import Core
from launchdeck.domain.errors import Failure, LaunchdeckError
from launchdeck.domain.gpu import GpuProcess, GpuReading, GpuType, Inventory, PlannedGpu
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.monitor.history import METRICS
from launchdeck.monitor.history_store import HistoryStore
from launchdeck.serving.records.codec import to_json
from launchdeck.serving.records.records import ShimStatus, read_records
from launchdeck.serving.requests.request_memory import RequestMemory
from launchdeck.serving.requests.start_list import StartList
from launchdeck.serving.requests.starting import LOOK_S
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup

if TYPE_CHECKING:
    from launchdeck.domain.plan import LaunchPlan

MODEL = Path("/models/demo.gguf")
A, B = (samples.gpu(n, "RTX 4090", GpuType.NVIDIA, 24, 1) for n in (0, 1))
BOTH = samples.inventory(A, B)
WITHOUT_A = samples.inventory(replace(B, gpu=replace(B.gpu, index=0)))
NO_GPU = samples.inventory()


def old_request(places: list[int] | None, **changes: Any) -> dict[str, Any]:
    """As versions before wrote it down."""
    document: dict[str, Any] = to_json(ModelLoadRequest(MODEL, **changes))
    del document["gpu_uuids"], document["known_gpus"]
    return document | {"gpu_indices": places}


@pytest.fixture
def state() -> Path:
    paths = Paths.resolve()
    paths.create()
    return paths.state


def core() -> Core:
    return Core(Setup.of(Paths.resolve()))


def adopted(*looks: Inventory) -> Core:
    """An application that has read its records and then seen these GPUs."""
    ours = core()
    asyncio.run(ours.adopt())
    for inventory in looks:
        ours.observe(inventory)
    return ours


def chart(state: Path, *uuids: str) -> None:
    """The history that a window before has left of these GPUs and the CPU, in the order of its list."""
    rows = (np.array([1000.0]), np.zeros((len(METRICS), 1), np.float32))
    HistoryStore(state / "history.npz").save(dict.fromkeys(("cpu", *uuids), rows))


def uuids(requests: RequestMemory, *names: str) -> list[tuple[str, ...] | None]:
    return [requests.preset(name).gpu_uuids for name in names]


def write_old(state: Path) -> tuple[str, str]:
    presets = {
        "first": old_request([0]),
        "both": old_request([1, 0]),
        "cpu": old_request([]),
        "auto": old_request(None),
    }
    requests = json.dumps({"last": {str(MODEL): old_request([1])}, "presets": presets})
    marked = json.dumps({"version": old_request([1], model_id="version"), "b": old_request([0], model_id="b")})
    (state / "requests.json").write_text(requests)
    (state / "start-with-launchdeck.json").write_text(marked)
    return requests, marked


def test_places_become_identities_at_the_first_look_and_the_files_of_before_stay(qapp: object, state: Path) -> None:
    before = write_old(state)
    adopted(BOTH)
    kept = [(state / f"{name}.v1").read_text() for name in ("requests.json", "start-with-launchdeck.json")]
    assert kept == list(before)
    requests = RequestMemory(state / "requests.json")
    assert uuids(requests, "first", "both", "cpu", "auto") == [("GPU-0",), ("GPU-1", "GPU-0"), (), None]
    last = requests.last(MODEL)
    assert last is not None
    assert last.known_gpus == (PlannedGpu.of(B.gpu),)
    marked = StartList(state / "start-with-launchdeck.json").requests
    assert [(one.model_id, one.gpu_uuids) for one in marked] == [("version", ("GPU-1",)), ("b", ("GPU-0",))]
    adopted(WITHOUT_A)
    assert uuids(RequestMemory(state / "requests.json"), "both") == [("GPU-1", "GPU-0")]
    assert sorted(path.name for path in state.glob("*.v1*")) == ["requests.json.v1", "start-with-launchdeck.json.v1"]


@pytest.mark.parametrize("machine", [WITHOUT_A, NO_GPU], ids=["the first away", "both away"])
def test_where_a_gpu_is_away_no_place_is_taken_for_another_gpus(
    qapp: object, state: Path, machine: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    """The list has a GPU 0 and may have a GPU 1 again some day: neither is the one that was meant for sure."""
    write_old(state)
    adopted(machine)
    assert "has to be chosen again" in caplog.text
    adopted(BOTH)
    requests = RequestMemory(state / "requests.json")
    marked = StartList(state / "start-with-launchdeck.json").requests
    for request in (requests.preset("first"), requests.preset("both"), requests.last(MODEL), *marked):
        assert request is not None
        assert not any(gpu.is_identified for gpu in request.named_gpus)
    assert uuids(requests, "cpu", "auto") == [(), None]


def test_a_gpu_that_models_ran_on_and_that_is_away_is_reason_enough(qapp: object, state: Path) -> None:
    (state / "requests.json").write_text(json.dumps({"last": {}, "presets": {"first": old_request([0])}}))
    (state / "residuals.json").write_text(json.dumps({"GPU-0 580 llama-server 10605": 1 << 20}))
    adopted(WITHOUT_A)
    (gpu,) = RequestMemory(state / "requests.json").preset("first").named_gpus
    assert not gpu.is_identified


C = samples.gpu(2, "RTX 3090", GpuType.NVIDIA, 24, 1)
AMD = samples.gpu(3, "RX 7900 XTX", GpuType.AMD, 24, 1)


def listed(*gpus: GpuReading) -> Inventory:
    return samples.inventory(*(replace(one, gpu=replace(one.gpu, index=n)) for n, one in enumerate(gpus)))


@pytest.mark.parametrize(
    ("charted", "now", "meant"),
    [
        (("GPU-0", "GPU-1"), listed(A, B), ("GPU-0",)),
        (("GPU-0", "GPU-1"), listed(B), None),
        (("GPU-0", "GPU-1"), listed(C, B), None),
        (("GPU-0", "GPU-1"), listed(C, A, B), None),
        (("GPU-0", "GPU-1"), listed(A, B, C), None),
        (("GPU-0", "GPU-3"), listed(AMD, A), None),
        (("GPU-0", "GPU-3"), listed(A, AMD), ("GPU-0",)),
        ((), listed(A, AMD), None),
        ((), listed(A, B), ("GPU-0",)),
    ],
    ids=[
        "as it was", "rebooted without the first", "swapped", "one added before", "one added behind",
        "another driver first", "two drivers as they were", "two drivers, and nothing tells", "nothing tells",
    ],
)  # fmt: skip
def test_a_place_is_taken_for_a_gpu_only_where_the_list_is_the_one_of_the_charts(
    qapp: object, state: Path, charted: tuple[str, ...], now: Inventory, meant: tuple[str, ...] | None
) -> None:
    (state / "requests.json").write_text(json.dumps({"last": {}, "presets": {"first": old_request([0])}}))
    if charted:
        chart(state, *charted)
    (gpu,) = adopted(now).requests.preset("first").named_gpus
    assert gpu.is_identified is (meant is not None)
    assert meant is None or (gpu.uuid,) == meant


@pytest.mark.parametrize(
    ("now", "is_known"),
    [(listed(A, B), True), (listed(B, A), False), (listed(C, B), True), (listed(A, C), False)],
    ids=["as it was", "in another order", "the other one swapped", "the recorded one away"],
)
def test_a_record_tells_which_gpu_had_a_place(
    qapp: object, state: Path, now: Inventory, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (state / "requests.json").write_text(json.dumps({"last": {}, "presets": {"second": old_request([1])}}))
    record_of(Paths.resolve().records, places=[1], env={"CUDA_VISIBLE_DEVICES": "GPU-1"})
    ours = adopted(now)
    assert len(ours.manager.deployments) == 1
    (gpu,) = ours.requests.preset("second").named_gpus
    assert gpu.is_identified is is_known


def test_nothing_is_settled_or_started_before_the_records_are_known(qapp: object, state: Path) -> None:
    write_old(state)
    ours = core()
    ours.planner.engines = ()
    ours.observe(BOTH)
    assert not any(gpu.is_identified for gpu in ours.requests.preset("first").named_gpus)

    async def start() -> list[Failure]:
        starting = asyncio.create_task(ours.start_marked())
        await asyncio.sleep(3 * LOOK_S)
        assert not starting.done()
        await ours.adopt()
        return await starting

    failures = asyncio.run(start())
    assert len(failures) == 2
    assert uuids(ours.requests, "first") == [("GPU-0",)]


def test_what_is_saved_before_the_first_look_leaves_the_rest_to_be_settled(qapp: object, state: Path) -> None:
    """The GPUs hang, a preset is saved, and the application ends."""
    write_old(state)
    RequestMemory(state / "requests.json").save_preset("new", ModelLoadRequest(MODEL))
    StartList(state / "start-with-launchdeck.json").mark("new", ModelLoadRequest(MODEL), marked=True)
    ours = adopted(BOTH)
    assert ours.requests.file.problem is None
    assert uuids(ours.requests, "first", "both", "new") == [("GPU-0",), ("GPU-1", "GPU-0"), None]
    assert [one.gpu_uuids for one in ours.manager.start_list.requests] == [("GPU-1",), ("GPU-0",), None]
    for name in ("requests.json", "start-with-launchdeck.json"):
        assert "unsettled" not in json.loads((state / name).read_text())


def test_where_nothing_can_be_written_it_is_known_all_the_same(
    qapp: object, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_old(state)
    (state / "requests.json.v1").mkdir()
    for number in range(2, 1000):
        (state / f"requests.json.v1-{number}").symlink_to("nowhere")
    ours = adopted(BOTH, BOTH)
    assert uuids(ours.requests, "both") == [("GPU-1", "GPU-0")]
    assert caplog.text.count("could not be saved") == 1
    assert json.loads((state / "requests.json").read_text())["presets"].keys() == {"first", "both", "cpu", "auto"}


def test_a_recorded_inventory_settles_nothing(qapp: object, state: Path) -> None:
    before = write_old(state)
    adopted(replace(BOTH, replayed=True))
    assert (state / "requests.json").read_text() == before[0]
    assert (state / "start-with-launchdeck.json").read_text() == before[1]


def test_a_place_that_nobody_knows_is_refused_with_what_to_do(qapp: object, state: Path, tmp_path: Path) -> None:
    model = llama(n_layer=2).write(tmp_path / "m.gguf")
    (state / "requests.json").write_text(
        json.dumps({"presets": {"second": old_request([1]) | {"model_path": str(model)}}})
    )
    ours = adopted(WITHOUT_A)
    ours.planner.engines = (samples.LLAMA_SERVER,)
    with pytest.raises(LaunchdeckError, match=r"saved for GPU 1, which is not there\. Choose its GPU again\."):
        ours.planner.plan(ours.requests.preset("second"), 8001)
    ours.observe(BOTH)
    with pytest.raises(
        LaunchdeckError, match=r"saved for GPU 1, which may be another one now\. Choose its GPU again\."
    ):
        ours.planner.plan(ours.requests.preset("second"), 8001)


def test_what_starts_with_launchdeck_is_refused_by_the_name_of_its_gpu(
    qapp: object, state: Path, tmp_path: Path
) -> None:
    ours = adopted()
    ours.planner.engines = (samples.LLAMA_SERVER,)
    model = llama(n_layer=2).write(tmp_path / "m.gguf")
    asked = ModelLoadRequest(model, gpu_uuids=("GPU-0",), known_gpus=(PlannedGpu.of(A.gpu),))
    ours.manager.start_list.mark("first", asked, marked=True)
    ours.observe(WITHOUT_A)
    (failure,) = asyncio.run(ours.start_marked())
    sentence = "first does not start with Launchdeck: RTX 4090 at 01:00.0 is not there."
    assert str(failure.message) == sentence
    assert ours.manager.deployments == ()


def test_what_does_not_fit_at_the_start_is_refused_as_at_the_doors(
    qapp: object, state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the name of the model of ours that holds the memory, not with the engine's."""
    held = GpuProcess(4711, "llama-server", 23 << 30)
    full = replace(A, sample=replace(A.sample, free_memory_bytes=1 << 20, processes=(held,)))
    ours = adopted(samples.inventory(full))
    ours.planner.engines = (samples.LLAMA_SERVER,)
    ours.planner.on_deployment(replace(samples.deployment(), pids=(4711,)))
    model = llama(n_layer=2).write(tmp_path / "m.gguf")
    asked = ModelLoadRequest(model, gpu_uuids=("GPU-0",), known_gpus=(PlannedGpu.of(A.gpu),), n_gpu_layers=3)
    ours.manager.start_list.mark("late", asked, marked=True)
    (failure,) = asyncio.run(ours.start_marked())
    assert f"held by {samples.deployment().plan.model_id} (pid 4711)" in str(failure.message)
    assert "force" not in f"{failure.advice} {caplog.text}"


def test_one_that_cannot_be_read_costs_itself_alone(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = {"a": old_request([-1]), "b": old_request([0] * 1000), "c": old_request(None) | {"gpu_indices": "0"}}
    (state / "requests.json").write_text(json.dumps({"presets": bad | {"good": old_request([2])}}))
    assert RequestMemory(state / "requests.json").preset_names == ("good",)
    assert caplog.text.count("is left out") == len(bad)


def test_what_a_newer_version_wrote_is_not_used_and_stays(qapp: object, state: Path) -> None:
    newer = json.dumps({"version": 3, "requests": {"presets": {"x": old_request([0])}}})
    for name in ("requests.json", "start-with-launchdeck.json"):
        (state / name).write_text(newer)
    ours = adopted()
    assert "newer version of Launchdeck" in str(ours.requests.file.problem)
    assert "newer version of Launchdeck" in str(ours.manager.start_list.file.problem)
    ours.observe(BOTH)
    assert (state / "requests.json").read_text() == newer
    ours.requests.save_preset("new", ModelLoadRequest(MODEL))
    ours.manager.start_list.mark("new", ModelLoadRequest(MODEL), marked=True)
    for name in ("requests.json", "start-with-launchdeck.json"):
        assert (state / f"{name}.v3").read_text() == newer
    assert RequestMemory(state / "requests.json").preset_names == ("new",)


def test_no_file_of_before_takes_the_place_of_another(state: Path) -> None:
    """Somebody goes back to the version before, and comes again."""
    for number in (0, 1, 1):
        old = {"presets": {"x": old_request([number])}}
        (state / "requests.json").write_text(json.dumps(old))
        RequestMemory(state / "requests.json").save_preset("new", ModelLoadRequest(MODEL))
    assert sorted(path.name for path in state.glob("requests.json.v*")) == ["requests.json.v1", "requests.json.v1-2"]


ID = "0000000a"


def record_of(
    tmp_path: Path,
    *,
    places: list[int],
    env: dict[str, str],
    failure: Any = None,
    gpus: tuple[PlannedGpu, ...] | None = None,
) -> LaunchPlan:
    plan: dict[str, Any] = to_json(samples.plan())
    if gpus is None:
        del plan["gpus"]
    else:
        plan["gpus"] = to_json(gpus)
    plan |= {"request": old_request(places), "env": list(map(list, env.items()))}
    facts = {
        "version": 1, "id": ID, "boot_id": "boot", "created_at_s": 5, "socket": f"/run/{ID}.sock", "shim": [10, 100],
        "engine": None, "tree": [], "ended_at_s": None, "stop_asked": False, "exit_code": None, "start_error": None,
        "note": {"failure": failure}, "plan": plan,
    }  # fmt: skip
    (tmp_path / ID).mkdir(parents=True, exist_ok=True)
    (tmp_path / ID / "record.json").write_text(json.dumps(facts))
    (record,) = read_records(tmp_path)
    return record.plan


@pytest.mark.parametrize(
    ("places", "env", "known"),
    [
        ([1], {"CUDA_VISIBLE_DEVICES": "GPU-1"}, ("GPU-1",)),
        ([1, 0], {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-0"}, ("GPU-1", "GPU-0")),
        ([0], {"CUDA_VISIBLE_DEVICES": "MIG-1f"}, ("MIG-1f",)),
        ([0], {"HIP_VISIBLE_DEVICES": "GPU-8a"}, ("GPU-8a",)),
        ([], {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}, ()),
    ],
)
def test_the_record_of_a_running_model_tells_its_gpus_by_its_mask(
    tmp_path: Path, places: list[int], env: dict[str, str], known: tuple[str, ...]
) -> None:
    plan = record_of(tmp_path, places=places, env=env)
    assert plan.request.gpu_uuids == known
    assert [(gpu.uuid, gpu.index) for gpu in plan.gpus] == list(zip(known, places, strict=True))
    assert plan.request.known_gpus == plan.gpus


def test_what_a_record_lists_beside_is_what_it_meant(tmp_path: Path) -> None:
    gpus = samples.planned_gpus(1, 0)
    plan = record_of(tmp_path, places=[1, 0], env={"HIP_VISIBLE_DEVICES": "1,0"}, gpus=gpus)
    assert plan.gpus == plan.request.known_gpus == gpus
    (other,) = record_of(tmp_path, places=[2], env={}, gpus=gpus).gpus
    assert not other.is_identified


@pytest.mark.parametrize(
    "env", [{}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "-1"}, {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}]
)
def test_where_the_mask_does_not_tell_the_gpu_is_not_guessed(tmp_path: Path, env: dict[str, str]) -> None:
    (gpu,) = record_of(tmp_path, places=[1], env=env).gpus
    assert (gpu.index, gpu.is_identified) == (1, False)


def test_a_fix_for_a_place_or_of_an_unknown_field_costs_itself_alone(tmp_path: Path) -> None:
    failure: Any = to_json(samples.failed_deployment().failure)
    (fix,) = failure["fixes"]
    on_cpu = fix | {"changes": [["gpu_indices", []], ["n_gpu_layers", 0]]}
    failure["fixes"] = [
        on_cpu, fix | {"changes": [["gpu_indices", [1]]]}, fix | {"changes": [["what_is_this", 3]]}, fix
    ]  # fmt: skip
    record_of(tmp_path, places=[0], env={}, failure=failure)
    (record,) = read_records(tmp_path)
    told = record.status.note.failure
    assert told is not None
    assert [dict(one.changes) for one in told.fixes] == [{"gpu_uuids": (), "n_gpu_layers": 0}, {"n_gpu_layers": 38}]
    live = ShimStatus.of(json.loads((tmp_path / ID / "record.json").read_text()))
    assert live.note.failure == told
