"""A third engine is one file and one entry in the registry: from the search to the words of its failure."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.safetensors_writer import llama_config, write_model
from fakes.samples import LLAMA_SERVER, deployment, gpu, inventory
from fakes.serving import Bench, no_process_left, until_async
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineKind, LaunchPlan
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.engines import registry
from launchdeck.engines.document import command_line, plan_document
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.serving import direct
from launchdeck.serving.records.codec import from_json, to_json
from launchdeck.serving.turns import why_not_yet
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.ui.kit.deployment_text import engine_word, layers_hint
from unit.engines.third_engine import ARCHITECTURE, KIND, ThirdEngine

__all__ = ["no_process_left"]
THIRD = ThirdEngine()
PROGRAM = """#!{python}
import http.server, os, sys, time
_, model, port = sys.argv
print("third-server: reading 50%", flush=True)
if os.environ.get("THIRD_FAILS"):
    sys.exit("third-server: no tokenizer in " + model)
while not os.path.exists(os.environ["THIRD_GOES_ON"]):
    time.sleep(0.02)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
print("third-server serves", flush=True)
server.serve_forever()
"""


@pytest.fixture
def planner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """With the third engine registered, its program on PATH, and two GPUs."""
    monkeypatch.setattr(registry, "ENGINES", (THIRD, *registry.ENGINES))
    program = tmp_path / "bin" / "third-server"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    planner = Planner(Settings)
    planner.inventory = inventory(*(gpu(n, "RTX 4090", GpuType.NVIDIA, 24, 1 + n) for n in range(2)))
    planner.engines = find_engines(Settings(), Paths.resolve()).engines
    return planner


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "third", llama_config(architectures=[ARCHITECTURE]))


@pytest.fixture
def plan(planner: Planner, model: Path) -> LaunchPlan:
    return planner.plan(ModelLoadRequest(model), 8001)


def test_it_is_found_and_chosen_for_its_kind_of_model_alone(planner: Planner, plan: LaunchPlan, tmp_path: Path) -> None:
    assert [engine.version for engine in planner.engines or () if engine.kind == KIND] == ["3.0"]
    assert plan.engine.kind == KIND
    assert str(plan.reasons[0]) == "only Third knows this kind of model"
    with pytest.raises(LaunchdeckError, match="vllm"):  # which is not here
        planner.plan(ModelLoadRequest(write_model(tmp_path / "llama")), 8001)
    planner.engines = (LLAMA_SERVER,)
    with pytest.raises(LaunchdeckError, match=r"No engine for this model was found \(third\)"):
        planner.plan(plan.request, 8001)


def test_it_is_planned(plan: LaunchPlan, planner: Planner) -> None:
    assert plan.argv[1:] == (str(plan.model.path), "8001")
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-0"
    assert plan.estimate.devices[0].weights_bytes == plan.model.size_bytes
    assert plan_document(plan)["backend"] == "third"
    assert "THIRD_QUIET" not in command_line(plan)
    on_cpu = planner.plan(replace(plan.request, gpu_uuids=CPU_ONLY), 8001)
    assert on_cpu.layers.resolved == 0
    assert [str(clause) for clause in on_cpu.for_others] == ["Third is slow without a GPU"]


def test_its_record_is_read_back_and_one_of_an_unknown_engine_is_not_taken_for_it(plan: LaunchPlan) -> None:
    assert from_json(LaunchPlan, to_json(plan)) == plan
    with pytest.raises(ValueError, match="'fourth' is no kind of engine"):
        registry.engine_of(EngineKind("fourth"))


def test_two_of_it_take_turns(plan: LaunchPlan) -> None:
    first = replace(deployment(), plan=plan, state=State.LOADING)
    second = replace(first, id="second", created_at_s=first.created_at_s + 1, state=State.QUEUED)
    assert "third" in str(why_not_yet(second, (first, second)))


def test_its_words_are_shown(plan: LaunchPlan) -> None:
    assert (engine_word(plan.engine.kind), layers_hint(KIND)) == ("Third", "Third takes all layers or none.")


def test_it_serves_its_log_is_read_and_its_exit_is_explained(
    planner: Planner, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = tmp_path / "goes-on"
    monkeypatch.setenv("THIRD_GOES_ON", str(goes_on))

    async def run() -> None:
        bench = Bench(planner=planner.plan)
        running = (await bench.manager.load(ModelLoadRequest(model, model_id="good"))).id
        await until_async(lambda: bench.get(running).progress == 0.5)
        goes_on.touch()
        await bench.until_state(running, State.RUNNING)
        (shown,) = await direct.status(Paths.resolve(), registry.adapters())
        assert shown.plan.engine.kind == KIND
        await bench.manager.stop(running)
        monkeypatch.setenv("THIRD_FAILS", "1")
        failing = (await bench.manager.load(ModelLoadRequest(model, model_id="bad"))).id
        failed = await bench.until_state(failing, State.FAILED)
        assert failed.failure is not None
        assert failed.failure.cause is Cause.BAD_REQUEST
        assert str(failed.failure.message) == "third-server has no tokenizer for this model."
        await bench.manager.close(keep=False)

    asyncio.run(run())
