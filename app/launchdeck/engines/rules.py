"""Which family of engines suits a model on these GPUs, why, and what speaks for the other. The first rule wins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from launchdeck.domain.gpu import Gpu
from launchdeck.domain.model import RANK_POOLING, ModelFormat, ModelInfo, ServerType
from launchdeck.domain.plan import Backend
from launchdeck.domain.text import Message
from launchdeck.hardware.gpu_names import compute_capability, gfx_target

# What vLLM's kernels are built for.
MIN_COMPUTE_CAPABILITY = (7, 5)
ROCM_TARGETS = frozenset({
    "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201",
})  # fmt: skip
_WITHOUT_VLLM = {"win32": "Windows", "darwin": "macOS"}
_PARTIAL = Message("llama-server can leave any number of layers to the CPU, with the model as a GGUF file")
_THROUGHPUT = Message("vLLM answers many requests at once faster, with the model in safetensors format")


@dataclass(frozen=True, slots=True)
class Advice:
    """`reason` and `against` are clauses: "because ...", and what speaks for the other family."""

    backend: Backend
    reason: Message
    against: tuple[Message, ...] = ()


def advise(
    model: ModelInfo,
    gpus: Sequence[Gpu],
    server_type: ServerType = ServerType.LLM,
    architectures: frozenset[str] = frozenset(),
    system: str = sys.platform,
) -> Advice:
    """The better family for this model on these GPUs (none: the CPU).

    `architectures` are those vLLM knows; with none, it is believed to know all. Whether the model fits is not asked
    here: it is told by the plan, with the number of layers that a GGUF could place.
    """
    if model.format is ModelFormat.GGUF:
        return Advice(Backend.LLAMA, Message("the file is GGUF"), (_THROUGHPUT,) if gpus else ())
    obstacle = _obstacle(model, gpus, architectures, system)
    if obstacle is not None:
        return Advice(Backend.LLAMA, obstacle, (Message("the model is safetensors"),))
    if model.pooling == RANK_POOLING:
        return Advice(Backend.VLLM, Message("vLLM knows this reranking model"), (_PARTIAL,))
    if server_type is ServerType.EMBEDDING:
        return Advice(Backend.VLLM, Message("vLLM knows this embedding model"), (_PARTIAL,))
    return Advice(Backend.VLLM, Message("the model is safetensors"), (_PARTIAL,))


def _obstacle(model: ModelInfo, gpus: Sequence[Gpu], architectures: frozenset[str], system: str) -> Message | None:
    """What keeps vLLM from serving this model well."""
    if system in _WITHOUT_VLLM:
        return Message("vLLM does not run on {system}", system=_WITHOUT_VLLM[system])
    if architectures and model.architecture not in architectures:
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
