"""What others would have said: three published estimates of the same loads, in bytes for each GPU.

Each takes a header and a load; None is no answer. None of them counts the context that a process has on a card: it is
taken off where a formula contains it.

* `webui`: text-generation-webui, `estimate_vram` of modules/models_settings.py; explained at
  https://oobabooga.github.io/blog/posts/gguf-vram-formula/
* `ollama`: Ollama's estimator before it had an engine of its own, as `xllamacpp.estimate_gpu_layers` has it.
* `gguf_parser`: gpustack/gguf-parser-go at 0e66ad99, see `gguf_parser.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from unittest import mock

import xllamacpp
from gguf_parser import gguf_parser

from launchdeck.planning.llama.estimate import GPU_CONTEXT_BYTES
from launchdeck.planning.llama.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.models.gguf.header import GgufHeader
    from launchdeck.planning.llama.estimate import Load

    Peer = Callable[[GgufHeader, Load], tuple[int, ...] | None]

_MIB = 1 << 20
_MOST_FREE_MIB = 1 << 20
_CACHE_BITS = {"q4_0": 4, "q8_0": 8}


def webui(header: GgufHeader, load: Load) -> tuple[int, ...] | None:
    """One number for everything, fitted to measured runs: it knows no second GPU."""
    hp = Hyperparameters(header)
    heads = max(hp.n_head_kv, default=0)
    if len(load.devices) > 1 or not hp.n_layer_all or not heads:
        return None
    bits = _CACHE_BITS.get(load.cache_type_k, 16)
    layer_mib = header.size_bytes / _MIB / hp.n_layer_all
    more = bits - (math.floor(50.77817218646521 * hp.n_embd / load.n_ctx) + 9.987899908205632)
    mib = (layer_mib - 17.99552795246051 + 3.148552680382576e-05 * heads * bits * load.n_ctx) * (
        min(load.n_gpu_layers, hp.n_layer_all) + max(0.9690636483914102, more)
    ) + 1516.522943869404
    return (round(mib * _MIB) - GPU_CONTEXT_BYTES,)


def ollama(header: GgufHeader, load: Load) -> tuple[int, ...] | None:
    """It is told how much memory is free, not how many layers: the least memory is sought that gives as many.

    How layers are split over several GPUs it decides itself.
    """
    if len(load.devices) > 1:
        return None
    answer = _ollama_with(header, load, _MOST_FREE_MIB)
    low, high = 0, _MOST_FREE_MIB
    while answer is not None and answer.layers != load.n_gpu_layers and high - low > 1:
        middle = (low + high) // 2
        answer = _ollama_with(header, load, middle)
        if answer is not None and answer.layers < load.n_gpu_layers:
            low = middle
        else:
            high = middle
    return (int(answer.vram_size),) if answer is not None and answer.layers == load.n_gpu_layers else None


def _ollama_with(header: GgufHeader, load: Load, free_mib: int) -> Any:
    """Its own reading of the file takes a second for a large vocabulary, so it is given what has been read."""
    metadata = {key: {"value": list(v) if isinstance(v, tuple) else v} for key, v in header.metadata.items()}
    metadata["tokenizer.ggml.tokens"] = {"value": range(Hyperparameters(header).n_vocab)}
    read = {"metadata": metadata, "tensors": {tensor.name: {"n_bytes": tensor.n_bytes} for tensor in header.tensors}}
    with (
        mock.patch("xllamacpp.memory._import_gguf", return_value=(lambda *_: None, None)),
        mock.patch("xllamacpp.memory.dump_metadata_json", return_value=read),
    ):
        try:
            return xllamacpp.estimate_gpu_layers(
                gpus=[{"name": "CUDA", "memory_free": free_mib * _MIB, "memory_min": 0}],
                model_path=str(header.path),
                projectors=[],
                context_length=load.n_ctx,
                batch_size=load.n_ubatch,
                num_parallel=load.n_parallel,
                kv_cache_type=load.cache_type_k,
            )
        except (KeyError, ZeroDivisionError, TypeError):
            return None


PEERS: dict[str, Peer] = {"gguf-parser-go": gguf_parser, "text-generation-webui": webui, "xllamacpp": ollama}
