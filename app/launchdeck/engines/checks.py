"""What a request must fulfil before it is planned. A refusal says what is wrong and what would be right."""

from __future__ import annotations

import re

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.model import ModelInfo, ServerType
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.llama_argv import CACHE_TYPES

MAX_SLOTS = 256
# The host may be a name, an IPv4 address, or an IPv6 address in brackets; no comma, which separates workers.
_RPC_ADDRESS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\]):(\d{1,5})")
# llama-server takes a comma as the start of a second name.
_MODEL_ID = re.compile(r"[^\s,\-][^\s,]{0,99}")


def check_request(request: ModelLoadRequest, model: ModelInfo) -> None:
    """Refuse what cannot be carried out on any machine.

    Raises:
        LaunchdeckError: the first thing that is wrong.
    """
    if model.problem is not None:
        raise LaunchdeckError.of(Cause.MODEL_UNUSABLE, model.problem, Message("Choose another model."))
    _check_server_type(request, model)
    _check_layers(request, model)
    _check_context(request, model)
    if not 1 <= request.n_parallel <= MAX_SLOTS:
        raise _refusal(
            Message("{count} slots cannot be had.", count=request.n_parallel),
            Message("Ask for 1 to {limit} slots.", limit=MAX_SLOTS),
        )
    for cache_type in (request.cache_type_k, request.cache_type_v):
        if cache_type not in CACHE_TYPES:
            raise _refusal(
                Message("There is no cache type {name}.", name=cache_type),
                Message("Choose one of {names}.", names=", ".join(CACHE_TYPES)),
            )
    for address in request.rpc_workers:
        _check_worker(address)
    if request.model_id is not None and not _MODEL_ID.fullmatch(request.model_id):
        raise _refusal(
            Message("{name} cannot be a model's name.", name=repr(request.model_id)),
            Message("Use up to 100 characters without spaces and commas that do not begin with '-'."),
        )


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


def _check_context(request: ModelLoadRequest, model: ModelInfo) -> None:
    limit = model.context_length
    if request.n_ctx is None or (request.n_ctx >= 1 and (limit is None or request.n_ctx <= limit)):
        return
    if limit is None:
        raise _refusal(Message("A context of {asked} tokens cannot be had.", asked=request.n_ctx))
    raise _refusal(
        Message(
            "{name} takes a context of 1 to {limit} tokens, not {asked}.",
            name=model.name,
            limit=limit,
            asked=request.n_ctx,
        ),
        Message("Ask for at most {limit}.", limit=limit),
        Fix(Message("Use a context of {limit}", limit=limit), (("n_ctx", limit),)),
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
