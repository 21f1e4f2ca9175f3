"""Which engine, why, and what is said where none can do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.samples import EMBEDDED, LLAMA_SERVER, model, two_gpus
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.model import ModelFormat
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.request import BackendChoice, ModelLoadRequest
from launchdeck.engines.choose import choose

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
    assert dict(error.failure.fixes[0].changes)["gpu_indices"] == ()


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
