"""What a request must fulfil before it is planned. A refusal says what is wrong and what would be right."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.model import ModelInfo, ServerType
from launchdeck.domain.request import ALL_LAYERS, FlashAttention, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.context import most_context
from launchdeck.engines.fixes import SPLIT_BY_FREE_MEMORY, shorter_context
from launchdeck.engines.llama import prompt_cache
from launchdeck.engines.llama.argv import CACHE_TYPES, PLAIN_CACHE_TYPES
from launchdeck.engines.llama.rope_scaling import slot_limit
from launchdeck.engines.names import check_name
from launchdeck.models.gguf.ggml import BY_NAME

if TYPE_CHECKING:
    from launchdeck.planning.llama.estimate import MemoryModel

MAX_SLOTS = 256
MAX_THREADS = 1024
MAX_BATCH = 1 << 20
# The host may be a name, an IPv4 address, or an IPv6 address in brackets; no comma, which separates workers.
_RPC_ADDRESS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\]):(\d{1,5})")


def check_request(request: ModelLoadRequest, model: ModelInfo, *, shares_context: bool) -> None:
    """Refuse what cannot be carried out on any machine. `shares_context` as in `Engine`.

    Raises:
        LaunchdeckError: the first thing that is wrong.
    """
    if model.problem is not None:
        raise LaunchdeckError.of(Cause.MODEL_UNUSABLE, model.problem, Message("Choose another model."))
    _check_server_type(request, model)
    _check_layers(request, model)
    if not 1 <= request.n_parallel <= MAX_SLOTS:
        raise _refusal(
            Message("{count} slots cannot be had.", count=request.n_parallel),
            Message("Ask for 1 to {limit} slots.", limit=MAX_SLOTS),
        )
    _check_context(request, model, shares_context=shares_context)
    _check_cache_types(request)
    _check_work(request)
    _check_experts(request, model)
    for address in request.rpc_workers:
        _check_worker(address)
    if request.model_id is not None:
        check_name(request.model_id)


def _check_server_type(request: ModelLoadRequest, model: ModelInfo) -> None:
    if request.server_type in model.server_types:
        return
    fixes = tuple(
        Fix(Message("Serve it as {server_type}", server_type=str(one)), (("server_type", one),))
        for one in model.server_types
    )
    if request.server_type is ServerType.LLM:
        message = Message("{name} makes embeddings: it cannot be served as a language model.", name=model.name)
    else:
        message = Message("{name} cannot be served as {server_type}.", name=model.name, server_type=request.server_type)
    raise LaunchdeckError(
        Failure(Cause.BAD_REQUEST, message, Message("Serve it as what it was made for."), fixes=fixes)
    )


def _check_layers(request: ModelLoadRequest, model: ModelInfo) -> None:
    asked, total = request.n_gpu_layers, model.layer_count
    if asked is None or asked == ALL_LAYERS or 0 <= asked <= total:
        return
    raise _refusal(
        Message("{name} has {total} layers, not {asked}.", name=model.name, total=total, asked=asked),
        Message("Ask for 0 (the CPU) to {total} layers.", total=total),
        Fix(Message("Use all {total} layers", total=total), (("n_gpu_layers", ALL_LAYERS),)),
    )


def _check_context(request: ModelLoadRequest, model: ModelInfo, *, shares_context: bool) -> None:
    asked, slots = request.n_ctx, request.n_parallel
    limit, each = most_context(request, model, is_shared=shares_context), slot_limit(request, model)
    if asked is None or (asked >= 1 and (limit is None or asked <= limit)):
        return
    if limit is None:
        raise _refusal(Message("A context of {asked} tokens cannot be had.", asked=asked))
    if asked > limit != each:
        raise _refusal(
            Message(
                "{slots} slots of {name} take a context of 1 to {limit} tokens together, {each} each, not {asked}.",
                slots=slots,
                name=model.name,
                limit=limit,
                each=each,
                asked=asked,
            ),
            Message("Ask for at most {limit}.", limit=limit),
            shorter_context(limit),
        )
    limit = each or limit
    raise _refusal(
        Message(
            "{name} takes a context of 1 to {limit} tokens, not {asked}.",
            name=model.name,
            limit=limit,
            asked=asked,
        ),
        Message("Ask for at most {limit}.", limit=limit),
        shorter_context(limit),
    )


def _check_cache_types(request: ModelLoadRequest) -> None:
    for cache_type in (request.cache_type_k, request.cache_type_v):
        if cache_type not in CACHE_TYPES:
            raise _refusal(
                Message("There is no cache type {name}.", name=cache_type),
                Message("Choose one of {names}.", names=", ".join(CACHE_TYPES)),
            )
    if request.flash_attention is FlashAttention.OFF and request.cache_type_v not in PLAIN_CACHE_TYPES:
        raise _refusal(
            Message("A V cache of type {name} needs flash attention.", name=request.cache_type_v),
            Message("Leave flash attention on, or store V as f16."),
            Fix(Message("Flash attention: auto"), (("flash_attention", FlashAttention.AUTO),)),
            Fix(Message("Store V as f16"), (("cache_type_v", "f16"),)),
        )


def check_cache(request: ModelLoadRequest, model: ModelInfo, memory: MemoryModel) -> None:
    """Refuse cache types that llama.cpp refuses for this model. Source: its `llama_init_from_model`.

    Raises:
        LaunchdeckError: the model's cache cannot be stored like this.
    """
    key, value = request.cache_type_k, request.cache_type_v
    if memory.never_flash_attention and value not in PLAIN_CACHE_TYPES:
        raise _refusal(
            Message(
                "A V cache of type {type} needs flash attention, and {name} cannot be computed with it.",
                type=value,
                name=model.name,
            ),
            Message("Store V as f16."),
            Fix(Message("Store V as f16"), (("cache_type_v", "f16"),)),
        )
    if memory.shares_keys_and_values and key != value:
        without = request.flash_attention is FlashAttention.OFF
        types = [one for one in (key, value) if one in PLAIN_CACHE_TYPES or not without] or ["f16"]
        fixes = (
            Fix(Message("Store K and V as {name}", name=one), (("cache_type_k", one), ("cache_type_v", one)))
            for one in types
        )
        raise _refusal(
            Message(
                "{name} has one cache for K and V: it cannot store K as {key} and V as {value}.",
                name=model.name,
                key=key,
                value=value,
            ),
            Message("Store both as the same type."),
            *fixes,
        )
    _check_heads(request, model, memory)


def _check_heads(request: ModelLoadRequest, model: ModelInfo, memory: MemoryModel) -> None:
    """A quantised cache is stored in blocks of numbers: each head has to be a whole number of them, or without flash
    attention all heads of a layer together.
    """
    off = request.flash_attention is FlashAttention.OFF
    heads = memory.heads
    stored = (
        ("K", "cache_type_k", request.cache_type_k, heads.key_rows if off else heads.keys),
        ("V", "cache_type_v", request.cache_type_v, heads.values),
    )
    wrong = [
        (letter, field, name, length)
        for letter, field, name, lengths in stored
        for length in sorted(lengths)
        if length % BY_NAME[name].block_size
    ]
    if not wrong:
        return
    letter, _, name, length = wrong[0]
    fields = {field for _, field, _, _ in wrong}
    raise _refusal(
        Message(
            "The {letter} cache of {name} has rows of {length} numbers: {type} stores them in blocks of {block}.",
            name=model.name,
            length=length,
            letter=letter,
            type=name,
            block=BY_NAME[name].block_size,
        ),
        Message("Store the cache as f16."),
        Fix(Message("Store the cache as f16"), tuple((field, "f16") for field in sorted(fields))),
    )


def _check_work(request: ModelLoadRequest) -> None:
    """Threads, batches and shares."""
    limits = (
        (Message("threads"), request.n_threads, MAX_THREADS),
        (Message("tokens in a batch"), request.n_batch, MAX_BATCH),
        (Message("tokens computed at once"), request.n_ubatch, MAX_BATCH),
    )
    for what, number, limit in limits:
        if number is not None and not 1 <= number <= limit:
            raise _refusal(
                Message("{number} {what} cannot be had.", number=number, what=what),
                Message("Ask for 1 to {limit}.", limit=limit),
            )
    cache_size = prompt_cache.asked(request)
    if cache_size is not None and prompt_cache.asked_mib(request) is None:
        raise _refusal(
            Message("A prompt cache of {number} MiB cannot be had.", number=cache_size),
            Message("Ask for 0 (none) to {limit} MiB.", limit=prompt_cache.MOST_MIB),
        )
    shares = request.split or ()
    if not all(isfinite(share) and share >= 0 for share in shares) or (shares and not sum(shares)):
        raise _refusal(
            Message("The model cannot be split like {shares}.", shares=", ".join(f"{share:g}" for share in shares)),
            Message("Give each device a share, for example 3, 1."),
            SPLIT_BY_FREE_MEMORY,
        )


def check_split(request: ModelLoadRequest, device_count: int) -> None:
    """Refuse shares for another number of devices than there are; without any device they do not matter.

    Raises:
        LaunchdeckError: so many shares do not go with so many devices.
    """
    shares = len(request.split or ())
    if shares and device_count and shares != device_count:
        raise _refusal(
            Message("{shares} shares cannot be given to {devices} devices.", shares=shares, devices=device_count),
            Message("Give one share for each device, or leave the split to Launchdeck."),
            SPLIT_BY_FREE_MEMORY,
        )


def _check_experts(request: ModelLoadRequest, model: ModelInfo) -> None:
    asked = request.n_cpu_moe
    if asked == 0:
        return
    fix = Fix(Message("Leave the experts where they are"), (("n_cpu_moe", 0),))
    if not model.expert_count:
        raise _refusal(Message("{name} has no experts that could stay on the CPU.", name=model.name), None, fix)
    if not 0 <= asked <= (model.block_count or 0):
        raise _refusal(
            Message(
                "{name} has {total} blocks with experts, not {asked}.",
                name=model.name,
                total=model.block_count,
                asked=asked,
            ),
            Message("Ask for 0 to {total}.", total=model.block_count),
            fix,
        )


def _check_worker(address: str) -> None:
    match = _RPC_ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match[1]) <= 65535:
        raise _refusal(
            Message("{address} is no address of an RPC worker.", address=address),
            Message("Write it as host:port, for example 127.0.0.1:50052."),
        )


def _refusal(message: Message, advice: Message | None = None, *fixes: Fix) -> LaunchdeckError:
    return LaunchdeckError(Failure(Cause.BAD_REQUEST, message, advice, fixes=fixes))
