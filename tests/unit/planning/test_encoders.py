"""Models whose tokens look at each other, without a cache, against llama.cpp's own accounting: to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fakes.gguf_encoders import jina_bert, modern_bert, neo_bert, nomic_bert_moe
from fakes.gguf_models import Size, bert, llama
from fakes.gguf_zoo import gemma
from launchdeck.models.describe import ENCODERS
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.gguf_writer import Gguf
    from truth.oracle import Truth

GPU = Device("CUDA0", None)
LOAD = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
LOADS = {
    "default": LOAD,
    "slots apart": replace(LOAD, n_parallel=2, kv_unified=False),
    "q8_0 cache": replace(LOAD, cache_type_k="q8_0", cache_type_v="q8_0"),
    "no flash attention": replace(LOAD, flash_attention=False),
    "large batch": replace(LOAD, n_ubatch=2048),
    "small batch, two GPUs": replace(LOAD, n_ubatch=100, devices=(GPU,) * 2, split=(3.0, 2.0)),
    "three GPUs": replace(LOAD, n_ctx=2048, devices=(GPU,) * 3, split=(1.0, 5.0, 2.0)),
    "four GPUs, large batch": replace(LOAD, n_ubatch=1024, devices=(GPU,) * 4, split=(24.0, 8.0, 16.0, 12.0)),
    "four GPUs, no flash attention": replace(
        LOAD, flash_attention=False, devices=(GPU,) * 4, split=(24.0, 8.0, 16.0, 12.0)
    ),
    "GPU for the output alone": replace(LOAD, devices=(GPU,) * 2, split=(1.0, 1e-6)),
    "first GPU without layers": replace(LOAD, devices=(GPU,) * 2, split=(1e-6, 1.0)),
}


def like_llama(architecture: str, n_head_kv: int = 16) -> Gguf:
    return llama(
        architecture=architecture,
        n_layer=6,
        n_embd=1024,
        n_head=16,
        n_head_kv=n_head_kv,
        n_ff=2816,
        n_vocab=32000,
        tied=True,
        attention_bias=architecture == "dream",
    )


def gemma_embedding(n_layer: int, n_embd: int, n_head: int, n_ff: int) -> Gguf:
    size = Size("gemma-embedding", n_layer, n_embd, n_head, 1, n_ff, 256, 262144, 2048, "q8_0")
    return gemma("gemma-embedding", size, attention__sliding_window=512, pooling_type=1)


MODELS = {
    "bert": bert(),
    "bert, wider": bert("bert", 1024, 16, 4096),
    "nomic-bert": bert("nomic-bert", 768, 12, 3072),
    "nomic-bert-moe": nomic_bert_moe(),
    "jina-bert-v2": jina_bert("jina-bert-v2"),
    "jina-bert-v2 for code": jina_bert("jina-bert-v2", head_norm=True),
    "jina-bert-v3": jina_bert("jina-bert-v3"),
    "modern-bert": modern_bert(),
    "gemma-embedding": gemma_embedding(24, 768, 3, 1152),
    "gemma-embedding, wider": gemma_embedding(7, 1536, 4, 6144),
    "eurobert": like_llama("eurobert"),
    "neo-bert": neo_bert(),
    "llama-embed": like_llama("llama-embed", 4),
    "dream": like_llama("dream", 4),
    "llada": like_llama("llada"),
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
@pytest.mark.parametrize("name", MODELS)
def test_every_gpu_gets_the_engines_own_number(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    path = MODELS[name].write(tmp_path / "m.gguf")
    header = read_header(path)
    model, load = MemoryModel.of(header), replace(load, embedding=header.architecture in ENCODERS)
    answers = truth.expected(path, load, range(1, model.layer_count + 1))
    assert answers
    for layers, said in answers.items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers
