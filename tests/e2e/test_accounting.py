"""The engine's own account refines the estimate: the real llama-fit-params, and the log lines of a real start."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.engine_process import free_port, rpc_worker, running
from fakes.samples import inventory
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineKind, LaunchPlan, Tier
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

MIB = 1024 * 1024


def planner_with(engine_bin: Path, *workers: str) -> Planner:
    settings = Settings(llama_server_path=str(engine_bin / "llama-server"), rpc_workers=workers)
    planner = Planner(lambda: settings, Paths.resolve())
    planner.inventory = inventory()
    engines = find_engines(settings, Paths.resolve()).engines
    planner.engines = tuple(engine for engine in engines if engine.kind is EngineKind.LLAMA_SERVER)
    return planner


@pytest.mark.parametrize("layers", [12, 31])
@pytest.mark.parametrize("count", [1, 2])
def test_what_the_engine_says_beforehand_is_what_it_says_when_it_starts(
    engine_bin: Path, demo_model: Path, tmp_path: Path, layers: int, count: int
) -> None:
    program = engine_bin / "ggml-rpc-server"
    with rpc_worker(program) as one, rpc_worker(program) as other:
        workers = (one, other)[:count]
        planner = planner_with(engine_bin, *workers)
        request = ModelLoadRequest(
            demo_model, gpu_uuids=(), rpc_workers=workers, n_gpu_layers=layers, n_ctx=4096, split=(2.0, 1.0)[:count]
        )
        before = planner.plan(request, free_port())
        assert planner.can_account(before)
        assert planner.account(before)
        plan = planner.plan(request, before.port)
        with running(plan, tmp_path / "log") as process:
            applied = process.until_ready().applied
    # on the last device all tokens' results hide the rest, and the closed form stays
    tiers = [device.compute_tier for device in plan.estimate.devices]
    assert tiers == [*[Tier.ENGINE] * (count - 1), Tier.FORMULA]
    for name, device in zip(plan.device_names, plan.estimate.devices, strict=True):
        if device.compute_tier is Tier.ENGINE:
            assert device.compute_bytes == pytest.approx(applied.device_bytes(name, "compute"), abs=2 * MIB)


def test_it_is_asked_once_and_the_answer_outlives_the_application(engine_bin: Path, demo_model: Path) -> None:
    with rpc_worker(engine_bin / "ggml-rpc-server") as worker:
        request = ModelLoadRequest(
            demo_model, ServerType.EMBEDDING, gpu_uuids=(), rpc_workers=(worker,), n_gpu_layers=12, n_ctx=1024
        )
        planner = planner_with(engine_bin, worker)
        plan = planner.plan(request, free_port())
        assert planner.account(plan)
        assert not planner.can_account(plan)
        again = planner_with(engine_bin, worker)
        known = again.plan(request, free_port())
        assert not again.can_account(known)
        assert known.estimate.devices[0].compute_tier is Tier.ENGINE
        assert again.can_account(again.plan(ModelLoadRequest(demo_model, rpc_workers=(worker,), n_ctx=512), 8001))


def test_where_it_gives_no_answer_the_closed_form_stays(engine_bin: Path, demo_model: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    planner = planner_with(engine_bin)
    plan: LaunchPlan = planner.plan(
        ModelLoadRequest(demo_model, gpu_uuids=(), rpc_workers=(away,), n_gpu_layers=5), free_port()
    )
    assert not planner.account(plan)
    assert not planner.can_account(plan)
    assert planner.plan(plan.request, plan.port).estimate.devices[0].compute_tier is Tier.FORMULA


def test_on_the_cpu_there_is_nothing_to_ask(engine_bin: Path, demo_model: Path) -> None:
    planner = planner_with(engine_bin)
    assert not planner.can_account(planner.plan(ModelLoadRequest(demo_model, gpu_uuids=()), free_port()))
