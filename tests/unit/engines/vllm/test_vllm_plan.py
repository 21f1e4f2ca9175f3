"""Request and machine to a launch of vLLM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.safetensors_writer import llama_config, write_embedder, write_model
from fakes.samples import LLAMA_SERVER, gpu, inventory
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuReading, GpuType, Inventory
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineInfo, EngineKind, LaunchPlan
from launchdeck.domain.request import CPU_ONLY, BackendChoice, FlashAttention, ModelLoadRequest
from launchdeck.engines.document import plan_document
from launchdeck.engines.planner import Planner
from launchdeck.settings.schema import Settings

GIB = 1 << 30
VLLM = EngineInfo(
    EngineKind.VLLM, ("/opt/vllm/bin/vllm",), Path("/opt/vllm/bin/vllm"), "0.33.0", frozenset({GpuType.NVIDIA})
)
VLLM_CPU = replace(VLLM, version="0.32.0+cpu", gpu_types=frozenset({GpuType.CPU}))
BIG = llama_config(
    hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
    head_dim=128, vocab_size=32000, max_position_embeddings=32768,
)  # fmt: skip


def card(index: int, used_gib: float = 1, capability: tuple[int, int] = (8, 9)) -> GpuReading:
    reading = gpu(index, "RTX 4090", GpuType.NVIDIA, 24, used_gib)
    return replace(reading, gpu=replace(reading.gpu, compute_capability=capability))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "small")
    write_model(folder / "big", BIG)
    write_embedder(folder / "embedder")
    return folder


@pytest.fixture
def plan_of(folder: Path) -> Any:
    def plan_of(
        name: str = "small",
        *,
        machine: Inventory | None = None,
        engines: tuple[EngineInfo, ...] = (LLAMA_SERVER, VLLM),
        settings: Settings | None = None,
        **request: Any,
    ) -> LaunchPlan:
        planner = Planner(lambda: settings or Settings())
        planner.inventory = inventory(card(0), card(1)) if machine is None else machine
        planner.engines = engines
        return planner.plan(ModelLoadRequest(folder / name, **request), 8001)

    return plan_of


def option(plan: LaunchPlan, name: str) -> str | None:
    return plan.argv[plan.argv.index(name) + 1] if name in plan.argv else None


def warnings_of(plan: LaunchPlan) -> str:
    return " ".join(map(str, plan.warnings))


def test_the_whole_command(plan_of: Any, folder: Path) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), n_ctx=1024, n_parallel=2)
    assert plan.argv == (
        "/opt/vllm/bin/vllm", "serve", str(folder / "small"),
        "--host", "127.0.0.1", "--port", "8001", "--served-model-name", "small",
        "--tensor-parallel-size", "1", "--pipeline-parallel-size", "1",
        "--gpu-memory-utilization", option(plan, "--gpu-memory-utilization"),
        "--max-model-len", "1024", "--max-num-seqs", "2", "--max-num-batched-tokens", "2048",
        "--dtype", "bfloat16", "--runner", "generate", "--disable-uvicorn-access-log",
    )  # fmt: skip
    assert plan_document(plan)["backend"] == "vllm"
    assert plan.device_names == ("GPU",)
    assert plan.warnings == ()


def test_the_share_is_sized_to_the_model_and_capped_by_what_is_free(plan_of: Any) -> None:
    small, big = (plan_of(name, gpu_uuids=("GPU-0",), n_ctx=n) for name, n in (("small", 2048), ("big", 4096)))
    assert float(option(small, "--gpu-memory-utilization")) < 0.1
    assert 0.6 < float(option(big, "--gpu-memory-utilization")) < 0.85
    crowded = plan_of("big", machine=inventory(card(0, used_gib=5)), gpu_uuids=("GPU-0",), n_ctx=16384)
    assert float(option(crowded, "--gpu-memory-utilization")) * 24 <= 19 - 0.29
    assert "at once, not for 4" in warnings_of(crowded)


def test_environment(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=("GPU-1",))
    env = dict(plan.env)
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert env["VLLM_API_KEY"] == "***"
    assert plan.secret_env == ("VLLM_API_KEY",)
    assert "VLLM_*" in plan.env_unset
    assert "VLLM_API_KEY" not in dict(plan_of(settings=Settings(model_api_keys=False)).env)


@pytest.mark.parametrize(("version", "mask"), [("0.20.1", "0"), ("0.20.1+cu129", "0"), ("0.20.2", "GPU-1")])
def test_old_versions_get_numbers_in_the_order_of_the_bus(plan_of: Any, version: str, mask: str) -> None:
    first, second = card(0), card(1)
    turned = inventory(
        replace(first, gpu=replace(first.gpu, pci_address="0000:09:00.0")),
        replace(second, gpu=replace(second.gpu, pci_address="0000:01:00.0")),
    )
    plan = plan_of(machine=turned, gpu_uuids=("GPU-1",), engines=(replace(VLLM, version=version),))
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == mask
    assert dict(plan.env)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_two_gpus_share_every_layer(plan_of: Any) -> None:
    plan = plan_of("big", gpu_uuids=("GPU-1", "GPU-0"))
    assert option(plan, "--tensor-parallel-size") == "2"
    assert option(plan, "--distributed-executor-backend") == "mp"
    assert plan.device_names == ("TP0", "TP1")
    assert [device.device for device in plan.estimate.devices] == ["GPU 1", "GPU 0"]


def test_three_gpus_are_a_pipeline(plan_of: Any) -> None:
    plan = plan_of("big", machine=inventory(card(0), card(1), card(2)), gpu_uuids=("GPU-0", "GPU-1", "GPU-2"))
    assert (option(plan, "--tensor-parallel-size"), option(plan, "--pipeline-parallel-size")) == ("1", "3")
    assert plan.device_names == ("PP0", "PP1", "PP2")


def test_layers_left_on_the_cpu_become_their_bytes(plan_of: Any) -> None:
    plan = plan_of("big", gpu_uuids=("GPU-0",), n_gpu_layers=23)
    block = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336 + 2 * 4096)
    assert float(option(plan, "--cpu-offload-gb")) == pytest.approx(10 * block / GIB, abs=0.001)
    assert plan.layers.resolved == 23
    assert plan.estimate.host.weights_bytes == 10 * block
    two = plan_of("big", gpu_uuids=("GPU-0", "GPU-1"), n_gpu_layers=23)
    assert float(option(two, "--cpu-offload-gb")) == pytest.approx(5 * block / GIB, abs=0.01)
    assert option(plan_of("big", gpu_uuids=("GPU-0",), n_gpu_layers=-1), "--cpu-offload-gb") is None


def test_what_does_not_fit_is_offered_as_gguf_with_its_layers(plan_of: Any) -> None:
    plan = plan_of("big", machine=inventory(card(0, used_gib=18)), gpu_uuids=("GPU-0",), n_ctx=4096)
    assert 0 < plan.layers.resolved == plan.layers.largest_that_fits < 33
    assert plan.estimate.devices[0].fits
    assert "As a GGUF file (Q4_K_M) llama-server could place about 33 of its 33 layers" in warnings_of(plan)
    with pytest.raises(LaunchdeckError, match="not even one layer"):
        plan_of("big", machine=inventory(card(0, used_gib=23.5)), gpu_uuids=("GPU-0",))


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "half"), ((8, 0), "bfloat16")])
def test_the_type_follows_the_compute_capability(plan_of: Any, capability: tuple[int, int], dtype: str) -> None:
    plan = plan_of(machine=inventory(card(0, capability=capability)), gpu_uuids=("GPU-0",))
    assert option(plan, "--dtype") == dtype
    assert ("bfloat16" in warnings_of(plan)) == (dtype == "half")


def test_an_embedder_obeys_gpu_layers_and_context(plan_of: Any) -> None:
    plan = plan_of("embedder", server_type=ServerType.EMBEDDING, gpu_uuids=("GPU-1",), n_gpu_layers=2, n_ctx=128)
    assert option(plan, "--runner") == "pooling"
    assert "--convert" not in plan.argv
    assert option(plan, "--max-model-len") == "128"
    assert option(plan, "--dtype") == "half"
    assert plan.layers.resolved == 2
    assert plan.estimate.host.weights_bytes > 0
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_a_language_model_can_be_made_to_embed(plan_of: Any) -> None:
    plan = plan_of("big", server_type=ServerType.EMBEDDING, gpu_uuids=("GPU-0",), n_ctx=4096)
    assert (option(plan, "--runner"), option(plan, "--convert")) == ("pooling", "embed")
    assert option(plan, "--max-num-batched-tokens") == "4096"


def test_on_the_cpu(plan_of: Any) -> None:
    for request in ({"gpu_uuids": CPU_ONLY}, {"gpu_uuids": ("GPU-0",), "n_gpu_layers": 0}):
        plan = plan_of(engines=(VLLM_CPU,), n_ctx=1024, **request)
        env = dict(plan.env)
        assert env["CUDA_VISIBLE_DEVICES"] == env["HIP_VISIBLE_DEVICES"] == "-1"
        assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"
        assert "--gpu-memory-utilization" not in plan.argv
        assert plan.estimate.devices == ()
        assert plan.estimate.host.kv_bytes == GIB
        assert plan.layers.resolved == 0
        assert "without a GPU" in str(plan.for_others[0])


def test_settings_of_llama_cpp_are_said_to_mean_nothing(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), flash_attention=FlashAttention.ON, n_threads=4)
    assert "flash-attn, threads" in warnings_of(plan)


def test_a_plan_needs_no_engine_where_one_is_named(plan_of: Any) -> None:
    plan = plan_of(engines=(), backend=BackendChoice.VLLM, gpu_uuids=("GPU-0",))
    assert plan.argv[:2] == ("vllm", "serve")
    assert plan.blocker.cause is Cause.ENGINE_MISSING
    recorded = plan_of(machine=replace(inventory(card(0)), replayed=True), engines=())
    assert recorded.argv[0] == "vllm"
    assert recorded.request.gpu_uuids == ("GPU-0",)
    assert "recorded" in str(recorded.blocker)


def test_the_rules_hold_for_a_recorded_machine_by_the_names_of_its_gpus(plan_of: Any) -> None:
    old = card(0)
    old = replace(old, gpu=replace(old.gpu, name="Tesla V100-SXM2-32GB", compute_capability=None))
    machine = replace(inventory(old), replayed=True)
    with pytest.raises(LaunchdeckError, match=r"compute capability 7\.0, and vLLM needs 7\.5.*GGUF"):
        plan_of(machine=machine, engines=())
    named = plan_of(machine=machine, engines=(), backend=BackendChoice.VLLM)
    assert "compute capability 7.0" in str(named.for_others[0])
    assert "compute capability 7.0" in plan_document(named)["warnings"][0]
    assert named.argv[named.argv.index("--dtype") + 1] == "half"


def test_a_gpu_that_vllm_is_not_built_for_is_not_taken_for_its_size(plan_of: Any) -> None:
    big = replace(card(1), gpu=replace(card(1).gpu, name="Tesla V100", compute_capability=(7, 0)))
    big = replace(big, sample=replace(big.sample, free_memory_bytes=30 * GIB))
    assert plan_of(machine=inventory(card(0), big)).request.gpu_uuids == ("GPU-0",)


def test_without_a_gpu_the_other_engine_is_named(plan_of: Any) -> None:
    machine = replace(inventory(), replayed=True)
    assert "llama-server is the better engine" in warnings_of(plan_of(machine=machine, engines=()))


def test_unknown_memory_leaves_vllm_its_usual_share(plan_of: Any) -> None:
    reading = card(0)
    blind = replace(reading, sample=replace(reading.sample, free_memory_bytes=None))
    plan = plan_of(machine=inventory(blind), gpu_uuids=("GPU-0",))
    assert "--gpu-memory-utilization" not in plan.argv
    assert "not known" in warnings_of(plan)


def test_its_context_is_that_of_one_request_however_many_there_are(plan_of: Any) -> None:
    limit = plan_of(gpu_uuids=("GPU-0",)).model.context_length
    assert option(plan_of(gpu_uuids=("GPU-0",), n_ctx=limit, n_parallel=8), "--max-model-len") == str(limit)
    with pytest.raises(LaunchdeckError, match=f"1 to {limit} tokens"):
        plan_of(gpu_uuids=("GPU-0",), n_ctx=limit + 1, n_parallel=8)
