"""Whether a launch computes attention in one go, where the choice is left to llama.cpp, and what to say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.llama.argv import FLASH_ATTENTION, PLAIN_CACHE_TYPES
from launchdeck.planning.llama.fused_attention import CACHE_TYPES

if TYPE_CHECKING:
    from launchdeck.domain.plan import EngineInfo
    from launchdeck.planning.llama.estimate import Device, Load, MemoryModel


def resolved(request: ModelLoadRequest, memory: MemoryModel, layers: int) -> FlashAttention:
    """What llama.cpp is told, with so many layers on GPUs. Where only some are, its `auto` gives up on models of
    different layers, though nothing is missing: one layer's attention lies beside what another device does. On lfm2
    that took 2.2 GiB instead of 0.1.
    """
    some = 0 < layers < memory.layer_count and memory.fused_attention.has_different_layers
    if request.flash_attention is FlashAttention.AUTO and some and _can(request, memory):
        return FlashAttention.ON
    return request.flash_attention


def as_told(request: ModelLoadRequest, engine: EngineInfo) -> ModelLoadRequest:
    """The request as this engine can be told it. Older builds have a switch that is off unless given: they do not
    choose, and a cache that cannot do without needs it on.
    """
    if request.flash_attention is not FlashAttention.AUTO or FLASH_ATTENTION not in engine.switches:
        return request
    is_needed = request.cache_type_v not in PLAIN_CACHE_TYPES
    return replace(request, flash_attention=FlashAttention.ON if is_needed else FlashAttention.OFF)


def attending(load: Load, request: ModelLoadRequest, memory: MemoryModel, layers: int, *, of_cuda: bool) -> Load:
    """The load as llama.cpp really attends with so many layers on GPUs; `of_cuda`: by the kernels of its CUDA backend.

    The CPU can always do it in one go, and the output layer does not attend. Source: `resolve_fused_ops` of llama.cpp.
    """
    off = request.flash_attention is FlashAttention.OFF
    if not off and (_is_forced(request) or layers <= 1 or _gpus_can(request, memory, of_cuda=of_cuda)):
        return load
    load = replace(load, flash_attention=False, given_up=not off)
    if layers <= 1 or not of_cuda:
        return load
    more_bytes = memory.converted_scores_bytes(load)
    return replace(load, devices=tuple(_taking(device, more_bytes) for device in load.devices))


def _taking(device: Device, more_bytes: int) -> Device:
    return device if device.is_worker else replace(device, context_bytes=device.context_bytes + more_bytes)


def warnings_of_attention(
    request: ModelLoadRequest, memory: MemoryModel, layers: int, *, of_cuda: bool
) -> tuple[Message, ...]:
    """What is lost where these layers' attention cannot be computed on a GPU in one go.

    Where that is for the model's heads, nothing can be done about it: then only what is slow is told.
    """
    if request.flash_attention is FlashAttention.OFF or layers <= 1 or _gpus_can(request, memory, of_cuda=of_cuda):
        return ()
    if not memory.fused_attention.knows_heads:
        return (_HEADS_ON_CPU,) if _is_forced(request) else ()
    key, value, types = request.cache_type_k, request.cache_type_v, ", ".join(CACHE_TYPES)
    if _is_forced(request):
        return (
            Message(
                "Most builds of llama.cpp cannot read a cache with K as {key} and V as {value} on a GPU: the CPU "
                "computes the attention of all layers, which is slow. Store both as the same type, one of {types}.",
                key=key,
                value=value,
                types=types,
            ),
        )
    return (
        Message(
            "Most builds of llama.cpp have no flash attention on a GPU for K as {key} and V as {value}: attention "
            "takes more memory. Store both as the same type, one of {types}.",
            key=key,
            value=value,
            types=types,
        ),
    )


_HEADS_ON_CPU = Message(
    "llama.cpp has no flash attention on a GPU for the heads of this model: the CPU computes the attention of all "
    "layers, which is slow. Leave flash attention to auto, and store V as f16."
)


def _is_forced(request: ModelLoadRequest) -> bool:
    return request.flash_attention is FlashAttention.ON or request.cache_type_v not in PLAIN_CACHE_TYPES


def _gpus_can(request: ModelLoadRequest, memory: MemoryModel, *, of_cuda: bool) -> bool:
    return _can(request, memory) or not of_cuda


def _can(request: ModelLoadRequest, memory: MemoryModel) -> bool:
    fused = memory.fused_attention
    return fused.knows_heads and fused.knows_cache(request.cache_type_k, request.cache_type_v)
