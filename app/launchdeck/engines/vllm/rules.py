"""Whether vLLM suits a model on these GPUs, why, and what speaks for another engine. The first rule wins."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launchdeck.domain.gpu import Gpu
from launchdeck.domain.model import RANK_POOLING, ModelInfo, ServerType
from launchdeck.domain.text import Message
from launchdeck.engines.choice import Advice
from launchdeck.hardware.gpu_names import compute_capability, gfx_target

# What vLLM's kernels are built for.
MIN_COMPUTE_CAPABILITY = (7, 5)
ROCM_TARGETS = frozenset({
    "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201",
})  # fmt: skip
_WITHOUT_VLLM = {"win32": "Windows", "darwin": "macOS"}
_PARTIAL = Message("llama-server can leave any number of layers to the CPU, with the model as a GGUF file")


def advise(
    model: ModelInfo,
    gpus: Sequence[Gpu],
    server_type: ServerType = ServerType.LLM,
    architectures: frozenset[str] = frozenset(),
    system: str = sys.platform,
) -> Advice:
    """Whether it is the better family for this model on these GPUs (none: the CPU).

    `architectures` are those it knows; with none, it is believed to know all. Whether the model fits is not asked here:
    it is told by the plan, with the number of layers that a GGUF could place.
    """
    obstacle = _obstacle(model, gpus, architectures, system)
    if obstacle is not None:  # without a GPU, its build for the CPU serves what it knows, slower
        is_preference = not gpus and _knows(model, architectures)
        return Advice(False, obstacle, (Message("the model is safetensors"),), is_preference=is_preference)
    if model.pooling == RANK_POOLING:
        return Advice(True, Message("vLLM knows this reranking model"), (_PARTIAL,))
    if server_type is ServerType.EMBEDDING:
        return Advice(True, Message("vLLM knows this embedding model"), (_PARTIAL,))
    return Advice(True, Message("the model is safetensors"), (_PARTIAL,))


def _knows(model: ModelInfo, architectures: frozenset[str]) -> bool:
    return not architectures or model.architecture in architectures


def _obstacle(model: ModelInfo, gpus: Sequence[Gpu], architectures: frozenset[str], system: str) -> Message | None:
    """What keeps vLLM from serving this model well."""
    if system in _WITHOUT_VLLM:
        return Message("vLLM does not run on {system}", system=_WITHOUT_VLLM[system])
    if not _knows(model, architectures):
        return Message("vLLM does not know the architecture {name}", name=model.architecture or "?")
    if not gpus:
        return Message("without a GPU llama-server is the better engine")
    for gpu in gpus:
        capability, target = compute_capability(gpu), gfx_target(gpu)
        if capability is not None and capability < MIN_COMPUTE_CAPABILITY:
            return Message(
                "{gpu} has compute capability {found}, and vLLM needs {needed}",
                gpu=gpu.name,
                found="{}.{}".format(*capability),
                needed="{}.{}".format(*MIN_COMPUTE_CAPABILITY),
            )
        if target is not None and target not in ROCM_TARGETS:
            return Message("vLLM is not built for {gpu} ({target})", gpu=gpu.name, target=target)
    return None
