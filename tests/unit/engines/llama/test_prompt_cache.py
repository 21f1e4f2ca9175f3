"""How much RAM the engine may keep prompts in: always said, counted, and never more than is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import gguf_models, samples
from fakes.samples import MIB, gpu, inventory
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuType, Inventory
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineInfo, LaunchPlan, Verdict
from launchdeck.domain.request import ALL_LAYERS, CPU_ONLY, ModelLoadRequest
from launchdeck.engines import advice
from launchdeck.engines.planner import Planner
from launchdeck.settings.schema import Settings

OLD = replace(samples.LLAMA_SERVER, flags=frozenset({"--model", "--host", "--port", "--n-gpu-layers", "--device"}))


def machine(free_mib: int | None) -> Inventory:
    whole = inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 2))
    free = None if free_mib is None else free_mib * MIB
    return replace(whole, cpu=replace(whole.cpu, sample=replace(whole.cpu.sample, free_memory_bytes=free)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of 7 GB."""
    size = {"n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336, "n_vocab": 32000}
    return gguf_models.llama(**size, n_ctx=32768, quant="q8_0").write(tmp_path_factory.mktemp("models") / "m.gguf")


@pytest.fixture
def plan_of(model: Path) -> Any:
    def plan_of(free_mib: int | None = 45_000, engine: EngineInfo = samples.LLAMA_SERVER, **request: Any) -> LaunchPlan:
        planner = Planner(Settings)
        planner.engines, planner.inventory = (engine,), machine(free_mib)
        planner.prepare(model)
        asked = {"gpu_uuids": ("GPU-0",), "n_gpu_layers": ALL_LAYERS} | request
        plan = planner.preview(ModelLoadRequest(model, **asked), 8001)
        assert plan is not None
        return plan

    return plan_of


def said(plan: LaunchPlan) -> str | None:
    assert plan.argv.count("--cache-ram") <= 1
    return plan.argv[plan.argv.index("--cache-ram") + 1] if "--cache-ram" in plan.argv else None


@pytest.mark.parametrize(
    ("free_mib", "mib"),
    [(64_000, 8192), (32_768, 8192), (20_000, 4864), (20_400, 4864), (4096, 1024), (900, 0), (100, 0), (None, 0)],
)
def test_it_is_a_quarter_of_what_is_free_in_steps(plan_of: Any, free_mib: int | None, mib: int) -> None:
    plan = plan_of(free_mib)
    assert said(plan) == str(mib)
    assert plan.estimate.host.overhead_bytes == mib * MIB


def test_it_takes_no_more_than_the_model_leaves_and_makes_no_verdict_worse(plan_of: Any) -> None:
    """On the CPU this model needs 8.2 GiB."""
    bare = plan_of(45_000, gpu_uuids=CPU_ONLY, cache_ram_mib=0)
    needed_mib = bare.estimate.host.total_bytes // MIB
    for spare_mib in (-500, 0, 300, 700, 5000):
        plan = plan_of(needed_mib + 1 + spare_mib, gpu_uuids=CPU_ONLY)
        without = plan_of(needed_mib + 1 + spare_mib, gpu_uuids=CPU_ONLY, cache_ram_mib=0)
        assert plan.verdict is without.verdict
        assert int(said(plan) or -1) <= max(spare_mib + 1, 0)


def test_several_models_share_what_is_free(model: Path) -> None:
    planner = Planner(Settings)
    planner.engines, planner.inventory = (samples.LLAMA_SERVER,), machine(24_000)
    planner.prepare(model)
    sizes = []
    for number in range(12):
        plan = planner.preview(ModelLoadRequest(model, model_id=f"m{number}", n_gpu_layers=ALL_LAYERS), 8001)
        assert plan is not None
        sizes.append(int(said(plan) or 0))
        planner.on_deployment(Deployment(f"d{number}", plan, State.QUEUED, created_at_s=1.0))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[3] > 0
    assert sum(sizes) < 24_000


def test_a_number_of_ones_own_is_taken_and_counted(plan_of: Any) -> None:
    plan = plan_of(20_000, cache_ram_mib=30_000)

    def preview(asked: ModelLoadRequest) -> LaunchPlan | None:
        found: LaunchPlan = plan_of(20_000, cache_ram_mib=asked.cache_ram_mib)
        return found

    assert said(plan) == "30000"
    assert plan.estimate.host.overhead_bytes == 30_000 * MIB
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert [dict(fix.changes) for fix in advice.fixes(plan, preview)] == [{"cache_ram_mib": None}]
    assert said(plan_of(cache_ram_mib=0)) == "0"
    as_before = plan_of(extra_args=("--cache-ram", "512"))
    assert (said(as_before), as_before.estimate.host.overhead_bytes) == ("512", 512 * MIB)


@pytest.mark.parametrize("asked", [{}, {"cache_ram_mib": 512}, {"extra_args": ("--cache-ram", "512")}])
def test_where_prompts_cannot_be_taken_up_again_none_are_kept(plan_of: Any, asked: dict[str, Any]) -> None:
    embedding = plan_of(server_type=ServerType.EMBEDDING, **asked)
    worker = plan_of(gpu_uuids=(), rpc_workers=("10.0.0.1:50052",), engine=with_rpc(), **asked)
    for plan in (embedding, worker):
        assert (said(plan), plan.estimate.host.overhead_bytes) == ("0", 0)
        assert any("No prompts are kept" in str(warning) for warning in plan.warnings) is bool(asked)


def with_rpc() -> EngineInfo:
    return replace(
        samples.LLAMA_SERVER, supports_rpc=True, devices=("RPC0: 10.0.0.1:50052 (24000 MiB, 23000 MiB free)",)
    )


def test_an_engine_that_keeps_none_is_not_told(plan_of: Any) -> None:
    plan = plan_of(engine=OLD)
    assert (said(plan), plan.estimate.host.overhead_bytes) == (None, 0)
    with pytest.raises(LaunchdeckError, match="no option --cache-ram"):
        plan_of(engine=OLD, cache_ram_mib=512)
    with pytest.raises(LaunchdeckError, match="no option --cache-ram"):
        plan_of(engine=OLD, extra_args=("--cache-ram", "512"))


@pytest.mark.parametrize("asked", [{}, {"cache_ram_mib": 512}, {"extra_args": ("--cache-ram", "512")}])
def test_an_engine_that_has_no_such_option_needs_none_where_no_prompts_are_kept(
    plan_of: Any, asked: dict[str, Any]
) -> None:
    flags = OLD.flags | {"--batch-size", "--ubatch-size", "--embeddings", "--pooling"}
    plan = plan_of(engine=replace(OLD, flags=flags), server_type=ServerType.EMBEDDING, **asked)
    assert (said(plan), plan.estimate.host.overhead_bytes) == (None, 0)
    assert any("No prompts are kept" in str(warning) for warning in plan.warnings) is bool(asked)


@pytest.mark.parametrize("mib", [-1, (1 << 20) + 1])
def test_a_number_that_cannot_be_is_refused(plan_of: Any, mib: int) -> None:
    with pytest.raises(LaunchdeckError, match="cannot be had"):
        plan_of(cache_ram_mib=mib)


@pytest.mark.parametrize("word", ["lots", "1048577", "9" * 5000, "1.5"])
def test_so_is_one_among_an_experts_own_arguments_as_it_was_typed(plan_of: Any, word: str) -> None:
    with pytest.raises(LaunchdeckError, match=f"A prompt cache of {word} MiB cannot be had"):
        plan_of(cache_ram_mib=512, extra_args=("--cache-ram", word))


def test_advice_takes_an_experts_own_argument_back(plan_of: Any) -> None:
    words = ("--seed", "7", "--cache-ram", "20", "--jinja", "--cache-ram", "30000")

    def preview(asked: ModelLoadRequest) -> LaunchPlan | None:
        found: LaunchPlan = plan_of(20_000, cache_ram_mib=asked.cache_ram_mib, extra_args=asked.extra_args)
        return found

    plan = plan_of(20_000, extra_args=words)
    assert said(plan) == "30000", "the last one counts, as it does for the engine"
    (fix,) = advice.fixes(plan, preview)
    assert dict(fix.changes) == {"cache_ram_mib": None, "extra_args": ("--seed", "7", "--jinja")}


def test_a_command_stays_the_same_while_the_free_memory_moves_a_little(plan_of: Any) -> None:
    assert len({plan_of(20_000 + moved).argv for moved in range(-400, 400, 50)}) == 1
