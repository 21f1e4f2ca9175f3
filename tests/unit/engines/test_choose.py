"""Which engine, why, and what is said where none can do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.samples import EMBEDDED, LLAMA_SERVER, model, two_gpus
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.domain.model import ModelFormat, ModelInfo, ServerType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.request import BackendChoice, ModelLoadRequest
from launchdeck.engines import choose as choosing
from launchdeck.engines.choice import Choice
from launchdeck.engines.devices.devices import Machine
from launchdeck.engines.suitability import Suitability
from launchdeck.engines.vllm.rules import advise

REQUEST = ModelLoadRequest(Path("/models/a.gguf"))
NVIDIA, AMD = (reading.gpu for reading in two_gpus().gpus)
VULKAN = EngineInfo(
    EngineKind.LLAMA_SERVER,
    ("/opt/vulkan/llama-server",),
    Path("/opt/vulkan/llama-server"),
    None,
    frozenset({GpuType.NVIDIA, GpuType.AMD}),
    devices=(
        "Vulkan0: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 20000 MiB free)",
        "Vulkan1: NVIDIA GeForce RTX 4090 (24564 MiB, 12000 MiB free)",
    ),
    flags=frozenset({"--device"}),
)


def choose(
    request: ModelLoadRequest, info: ModelInfo, gpus: tuple[Gpu, ...], engines: tuple[EngineInfo, ...]
) -> Choice:
    """On a machine that has these GPUs alone."""
    return choosing.choose(Suitability(request, info, engines, Machine.of_gpus(gpus)), gpus)


def failure_of(*arguments: object) -> LaunchdeckError:
    with pytest.raises(LaunchdeckError) as caught:
        choose(*arguments)
    return caught.value


def test_the_first_that_can_is_chosen_and_the_others_are_told() -> None:
    choice = choose(REQUEST, model(), (NVIDIA,), (LLAMA_SERVER, VULKAN, EMBEDDED))
    assert choice.engine is LLAMA_SERVER
    assert choice.other == (VULKAN,)
    assert [str(reason) for reason in choice.reasons] == ["the file is GGUF"]
    assert choice.blocker is None


def test_an_engine_that_cannot_use_the_gpu_is_passed_over() -> None:
    assert choose(REQUEST, model(), (AMD,), (EMBEDDED, LLAMA_SERVER, VULKAN)).engine is VULKAN


def test_a_mask_is_blamed_only_where_it_is_what_hides_the_gpu() -> None:
    of_amd = replace(
        VULKAN, gpu_types=frozenset({GpuType.AMD}), devices=VULKAN.devices[:1], hidden_devices=frozenset({"Vulkan0"})
    )
    hidden = failure_of(REQUEST, model(), (AMD,), (of_amd,)).failure
    assert "GGML_VK_VISIBLE_DEVICES" in str(hidden.advice)
    another = failure_of(REQUEST, model(), (NVIDIA,), (of_amd,)).failure
    assert "can use RTX 4090" in str(another.message)
    assert "built for CUDA" in str(another.advice)
    # and where it cannot be told which of several it is, that is the reason, mask or not
    unclear = replace(
        VULKAN, devices=("Vulkan0: NVIDIA A (8192 MiB, 1 MiB free)", "Vulkan1: NVIDIA B (8192 MiB, 1 MiB free)")
    )
    refused = failure_of(
        REQUEST, model(), (NVIDIA,), (replace(unclear, hidden_devices=frozenset({"Vulkan1"})),)
    ).failure
    assert "cannot be told" in str(refused.message)


def test_on_the_cpu_any_engine_will_do() -> None:
    assert choose(REQUEST, model(), (), (EMBEDDED, LLAMA_SERVER)).engine is EMBEDDED


def test_the_embedded_engine_is_explained() -> None:
    choice = choose(REQUEST, model(), (), (EMBEDDED,))
    assert "no other engine" in str(choice.reasons[1])


@pytest.mark.parametrize(("gpu", "word"), [(NVIDIA, "CUDA"), (AMD, "ROCm")])
def test_a_gpu_that_no_engine_can_use_is_never_replaced_by_the_cpu(gpu: object, word: str) -> None:
    error = failure_of(REQUEST, model(), (gpu,), (EMBEDDED,))
    assert error.failure.cause is Cause.ENGINE_UNSUITED
    assert gpu.name in str(error.failure.message)
    assert word in str(error.failure.advice)
    assert dict(error.failure.fixes[0].changes)["gpu_uuids"] == ()


def test_two_vendors_need_one_engine_for_both() -> None:
    assert choose(REQUEST, model(), (NVIDIA, AMD), (LLAMA_SERVER, VULKAN)).engine is VULKAN
    rocm = replace(LLAMA_SERVER, gpu_types=frozenset({GpuType.AMD}))
    assert "together" in str(failure_of(REQUEST, model(), (NVIDIA, AMD), (LLAMA_SERVER, rocm)))


def test_workers_need_an_engine_that_speaks_to_them() -> None:
    request = replace(REQUEST, rpc_workers=("127.0.0.1:50052",))
    assert "RPC" in str(failure_of(request, model(), (), (EMBEDDED,)))
    able = replace(LLAMA_SERVER, supports_rpc=True)
    assert choose(request, model(), (), (EMBEDDED, able)).engine is able


def test_an_engine_can_be_named() -> None:
    request = replace(REQUEST, engine_id="embedded")
    choice = choose(request, model(), (), (LLAMA_SERVER, EMBEDDED))
    assert choice.engine is EMBEDDED
    assert choice.other == (LLAMA_SERVER,)
    assert choose(replace(REQUEST, engine_id=LLAMA_SERVER.id), model(), (), (EMBEDDED, LLAMA_SERVER)).engine.path


def test_a_named_engine_that_is_missing_or_cannot_is_refused() -> None:
    gone = failure_of(replace(REQUEST, engine_id="llama-server:/gone"), model(), (), (EMBEDDED,))
    assert gone.failure.cause is Cause.ENGINE_MISSING
    assert "embedded" in str(gone)
    unable = failure_of(replace(REQUEST, engine_id="embedded"), model(), (NVIDIA,), (LLAMA_SERVER, EMBEDDED))
    assert unable.failure.cause is Cause.ENGINE_UNSUITED


def test_a_backend_that_is_named_gives_a_plan_without_its_engine() -> None:
    choice = choose(replace(REQUEST, backend=BackendChoice.LLAMA), model(), (NVIDIA,), (EMBEDDED,))
    assert choice.engine.command == ("llama-server",)
    assert choice.blocker.cause is Cause.ENGINE_UNSUITED
    assert "you chose llama" in str(choice.reasons[0])
    assert choose(replace(REQUEST, backend=BackendChoice.LLAMA), model(), (), ()).blocker.cause is Cause.ENGINE_MISSING


def test_without_any_engine_the_automatic_choice_fails() -> None:
    assert failure_of(REQUEST, model(), (), ()).failure.cause is Cause.ENGINE_MISSING


@pytest.mark.parametrize(
    ("backend", "model_format"),
    [(BackendChoice.VLLM, ModelFormat.GGUF), (BackendChoice.LLAMA, ModelFormat.SAFETENSORS)],
)
def test_a_backend_that_cannot_read_the_format_is_refused(backend: BackendChoice, model_format: ModelFormat) -> None:
    request = replace(REQUEST, backend=backend)
    error = failure_of(request, replace(model(), format=model_format), (), (LLAMA_SERVER,))
    assert error.failure.cause is Cause.ENGINE_UNSUITED
    assert dict(error.failure.fixes[0].changes) == {"backend": BackendChoice.AUTO}


def test_safetensors_wait_for_an_engine() -> None:
    error = failure_of(REQUEST, replace(model(), format=ModelFormat.SAFETENSORS), (), (LLAMA_SERVER, EMBEDDED))
    assert error.failure.cause is Cause.ENGINE_MISSING
    assert "vllm" in str(error)


VLLM = EngineInfo(
    EngineKind.VLLM,
    ("/opt/vllm/bin/vllm",),
    Path("/opt/vllm/bin/vllm"),
    "0.33.0",
    frozenset({GpuType.NVIDIA, GpuType.AMD}),
    architectures=frozenset({"LlamaForCausalLM", "BertModel"}),
)
SILENT = replace(VLLM, architectures=frozenset())
VLLM_CPU = replace(VLLM, gpu_types=frozenset({GpuType.CPU}))
OLD = replace(NVIDIA, name="GTX 1080", compute_capability=(6, 1))
TURING = replace(NVIDIA, compute_capability=(7, 5))
ADA = replace(NVIDIA, compute_capability=(8, 9))
RDNA3, RDNA2 = replace(AMD, gfx_target="gfx1100"), replace(AMD, name="RX 6800", gfx_target="gfx1030")
GGUF = model()
LLAMA = replace(model(), format=ModelFormat.SAFETENSORS, architecture="LlamaForCausalLM")
AWQ = replace(LLAMA, quantisation="awq 4-bit")
BERT = replace(LLAMA, architecture="BertModel", server_types=(ServerType.EMBEDDING,), pooling="mean")
RANKER = replace(BERT, pooling="rank")
STRANGE = replace(LLAMA, architecture="StrangeForCausalLM")
EVERY = (LLAMA_SERVER, VLLM, EMBEDDED)


@pytest.mark.parametrize(
    ("info", "gpus", "engines", "chosen", "reason"),
    [
        (GGUF, (ADA,), EVERY, LLAMA_SERVER, "the file is GGUF"),
        (GGUF, (OLD,), EVERY, LLAMA_SERVER, "the file is GGUF"),
        (GGUF, (), EVERY, LLAMA_SERVER, "the file is GGUF"),
        (GGUF, (AMD,), (VULKAN, VLLM), VULKAN, "the file is GGUF"),
        (GGUF, (ADA,), (VLLM,), None, "llama"),
        (LLAMA, (ADA,), EVERY, VLLM, "the model is safetensors"),
        (LLAMA, (TURING,), EVERY, VLLM, "the model is safetensors"),
        (LLAMA, (NVIDIA,), EVERY, VLLM, "the model is safetensors"),
        (LLAMA, (OLD,), EVERY, None, "compute capability 6.1, and vLLM needs 7.5"),
        (LLAMA, (ADA, OLD), EVERY, None, "GTX 1080"),
        (LLAMA, (RDNA3,), EVERY, VLLM, "the model is safetensors"),
        (LLAMA, (AMD,), EVERY, VLLM, "the model is safetensors"),
        (LLAMA, (RDNA2,), EVERY, None, "gfx1030"),
        (LLAMA, (), EVERY, None, "built for the CPU"),
        (LLAMA, (), (LLAMA_SERVER, VLLM_CPU), VLLM_CPU, "the model is safetensors"),
        (LLAMA, (ADA,), (LLAMA_SERVER, VLLM_CPU), None, "RTX 4090"),
        (LLAMA, (ADA,), (LLAMA_SERVER,), None, "Install vLLM"),
        (LLAMA, (ADA,), (), None, "Install vLLM"),
        (AWQ, (ADA,), EVERY, VLLM, "the model is safetensors"),
        (STRANGE, (ADA,), EVERY, None, "does not know the architecture StrangeForCausalLM"),
        (STRANGE, (), (VLLM_CPU,), None, "does not know the architecture StrangeForCausalLM"),
        (STRANGE, (ADA,), (SILENT,), SILENT, "the model is safetensors"),
        (BERT, (ADA,), EVERY, VLLM, "embedding model"),
        (RANKER, (ADA,), EVERY, VLLM, "reranking model"),
    ],
)
def test_the_rules(
    info: ModelInfo, gpus: tuple[Gpu, ...], engines: tuple[EngineInfo, ...], chosen: EngineInfo | None, reason: str
) -> None:
    request = replace(REQUEST, server_type=info.server_types[0])
    if chosen is None:
        error = failure_of(request, info, gpus, engines)
        assert reason in str(error)
        assert error.failure.advice is not None
        return
    choice = choose(request, info, gpus, engines)
    assert choice.engine is chosen
    assert reason in str(choice.reasons[0])


def test_what_speaks_for_the_other_family_is_told() -> None:
    assert "any number of layers to the CPU" in str(choose(REQUEST, LLAMA, (ADA,), EVERY).for_others[0])
    assert "many requests" in str(choose(REQUEST, GGUF, (ADA,), EVERY).for_others[0])
    assert "without a GPU" in str(choose(REQUEST, LLAMA, (), (VLLM_CPU,)).for_others[0])


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_where_vllm_does_not_run(system: str) -> None:
    advice = advise(LLAMA, (ADA,), system=system)
    assert not advice.is_for
    assert "does not run on" in str(advice.reason)


def test_vllm_by_name_gives_a_plan_without_it() -> None:
    request = replace(REQUEST, backend=BackendChoice.VLLM)
    choice = choose(request, LLAMA, (ADA,), (LLAMA_SERVER,))
    assert choice.engine.command == ("vllm",)
    assert choice.blocker.cause is Cause.ENGINE_MISSING
    assert choose(request, LLAMA, (), ()).blocker.cause is Cause.ENGINE_MISSING
    assert choose(request, LLAMA, (OLD,), EVERY).blocker.cause is Cause.ENGINE_UNSUITED
