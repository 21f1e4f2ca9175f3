"""What each GPU needs to work with its part of the graph, against llama.cpp's own accounting: to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fakes import gguf_zoo
from fakes.gguf_models import Size, attention, decoder, experts, feed_forward, llama, norms
from fakes.gguf_orders import gemma4_small, own_orders
from fakes.gguf_rare import grok, minimax_m3
from fakes.gguf_writer import Gguf
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from launchdeck.planning.llama.replay.allocator import BestFit, aligned

if TYPE_CHECKING:
    from pathlib import Path

    from truth.oracle import Truth

GPU = Device("CUDA0", None)
LOAD = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
LOADS = {
    "default": LOAD,
    "short context": replace(LOAD, n_ctx=2048),
    "long context": replace(LOAD, n_ctx=32768),
    "slots apart": replace(LOAD, n_ctx=9000, n_parallel=3, kv_unified=False),
    "q8_0 cache": replace(LOAD, cache_type_k="q8_0", cache_type_v="q8_0"),
    "q8_0 keys": replace(LOAD, cache_type_k="q8_0"),
    "bf16 keys, q4_0 values": replace(LOAD, cache_type_k="bf16", cache_type_v="q4_0"),
    "no flash attention": replace(LOAD, flash_attention=False),
    "large batch": replace(LOAD, n_ubatch=2048, n_ctx=4096),
    "small batch": replace(LOAD, n_ubatch=40),
    "two GPUs": replace(LOAD, n_ctx=16384, devices=(GPU, GPU), split=(3.0, 2.0)),
    "four uneven GPUs": replace(LOAD, n_ctx=20000, devices=(GPU,) * 4, split=(24.0, 8.0, 16.0, 12.0)),
    "three GPUs, q8_0 cache": replace(
        LOAD, cache_type_k="q8_0", cache_type_v="q8_0", devices=(GPU,) * 3, split=(24.0, 10.0, 16.0)
    ),
}


def mixed_quantisations() -> Gguf:
    """Some of the layers with larger values and a larger last matrix, as Q4_K_M has them."""
    size = Size("llama", 12, 2048, 16, 4, 5632, 128, 32000)
    fine = replace(size, quant="q6_k")

    def block(i: int) -> list[gguf_zoo.Tensor]:
        tensors = [*norms(i, 2048, "attn_norm", "ffn_norm"), *attention(i, size), *feed_forward(i, size)]
        finer = {tensor.name: tensor for tensor in (*attention(i, fine), *feed_forward(i, fine))}
        larger = {f"blk.{i}.attn_v.weight", f"blk.{i}.ffn_down.weight"} if i < 2 or i % 3 == 2 else set()
        return [finer[tensor.name] if tensor.name in larger else tensor for tensor in tensors]

    return decoder(size, block)


def grouped_experts() -> Gguf:
    """Routed as in GLM and DeepSeek: by groups of experts, with a bias and a factor."""
    size = Size("dots1", 6, 2048, 16, 16, 6144, 128, 32000)

    def block(i: int) -> list[gguf_zoo.Tensor]:
        attending = [*norms(i, 2048, "attn_norm", "ffn_norm"), *attention(i, size, head_norm=True)]
        if i == 0:
            return attending + feed_forward(i, size)
        bias = gguf_zoo.biases(i, {"exp_probs_b": 32})
        return [*attending, *experts(i, size, 32, 1408), *bias, *feed_forward(i, size, 2816, "_shexp")]

    return decoder(
        size,
        block,
        expert_count=32,
        expert_used_count=6,
        expert_shared_count=2,
        expert_feed_forward_length=1408,
        expert_group_count=4,
        expert_group_used_count=2,
        expert_weights_norm=True,
        expert_weights_scale=2.5,
        expert_gating_func=2,
        leading_dense_block_count=1,
    )


MODELS = {
    "dense": llama(n_layer=6, n_embd=2048, n_head=16, n_head_kv=4, n_ff=8192, n_vocab=32000, quant="q4_k"),
    "dense, tied, f16": llama(n_layer=6, n_embd=1536, n_head=12, n_head_kv=12, n_ff=4096, tied=True, quant="f16"),
    "biases": llama(
        architecture="qwen2", n_layer=6, n_embd=1536, n_head=12, n_head_kv=2, n_ff=8960, attention_bias=True
    ),
    "norms of heads": llama(
        architecture="qwen3", n_layer=6, n_embd=640, n_head=10, n_head_kv=2, head_dim=128, n_ff=1920, head_norm=True
    ),
    "mixed quantisations": mixed_quantisations(),
    "fused": gguf_zoo.phi3(),
    "without a gate": gguf_zoo.starcoder2(),
    "norms after": gguf_zoo.olmo2(),
    "side by side": gguf_zoo.cohere2(),
    "windows": gguf_zoo.gemma(
        "gemma3", Size("gemma3", 12, 1152, 4, 1, 6912, 256, 32000), attention__sliding_window=512
    ),
    "layers that do not rotate": gguf_zoo.like_llama("smollm3"),
    "experts": gguf_zoo.mixtral(),
    "experts that all go to": gguf_zoo.qwen2moe(),
    "experts in groups": grouped_experts(),
    "experts with biases": gguf_zoo.gpt_oss(),
    "one expert": gguf_zoo.llama4(),
    "norms after experts": grok(),
    "indexer": minimax_m3(),
    "norms after rotation": gguf_zoo.like_llama("hunyuan-dense", head_norm=True),
    "positions in space": gguf_zoo.like_llama("qwen2vl", rope__dimension_sections=[16, 24, 24, 0]),
    "latent attention": gguf_zoo.deepseek2(),
    "latent attention, queries as well": gguf_zoo.deepseek_v3(),
    **dict(own_orders()),
}


LATENT = {name for name in MODELS if name.startswith("latent")}
# The kinds of work matter to the attention and the cache, of which there are few kinds; the others differ elsewhere.
EVERY_WORK = {"dense", "windows", "experts", "latent attention", "layers that do not rotate"}
SOME_WORK = {"default", "q8_0 cache", "no flash attention", "two GPUs", "four uneven GPUs"}
# An order is the same for any work, and shows where the cache is small.
LITTLE_WORK = {name: {"short context", "two GPUs"} for name, _ in own_orders()}
for name in ("falcon", "bloom", "deepseek2, unfolded", "scaled"):
    LITTLE_WORK[name].add("q8_0 cache")
for name in ("afmoe", "mimo2"):
    LITTLE_WORK[name].add("no flash attention")
LITTLE_WORK["gemma4, experts"].add("four uneven GPUs")
CASES = [
    pytest.param(name, load, id=f"{name}: {load_name}")
    for name in MODELS
    for load_name, load in LOADS.items()
    if name in EVERY_WORK or load_name in LITTLE_WORK.get(name, SOME_WORK)
    # What the engine refuses, and what is not played through.
    if (load.cache_type_v == "f16" or name != "norms after experts")
    and (load.cache_type_k == load.cache_type_v or name not in LATENT)
    and (load.kv_unified or name != "indexer")
]


@pytest.mark.parametrize(("name", "load"), CASES)
def test_every_gpu_gets_the_engines_own_number(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    """With any number of layers: with those that stay in RAM lent to the first GPU, and with all in a pipeline."""
    path = MODELS[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    answers = truth.expected(path, load, range(1, model.layer_count + 1))
    assert answers
    for layers, said in answers.items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers


@pytest.mark.parametrize("load_name", ["default", "long context", "q8_0 cache", "two GPUs"])
def test_layers_that_read_the_cache_of_others_are_exact(tmp_path: Path, truth: Truth, load_name: str) -> None:
    """On the same device, or on another one: of 30 layers of Gemma 4 the last six have none of their own."""
    path, load = gguf_zoo.gemma4().write(tmp_path / "m.gguf"), LOADS[load_name]
    model = MemoryModel.of(read_header(path))
    for layers, said in truth.expected(path, load, [1, *range(3, 32)]).items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers


@pytest.mark.parametrize("load_name", ["short context", "two GPUs"])
def test_embeddings_for_each_layer_are_exact(tmp_path: Path, truth: Truth, load_name: str) -> None:
    """On the first GPU, which makes those of all layers; others get a part of them for each of their layers."""
    path, load = gemma4_small().write(tmp_path / "m.gguf"), LOADS[load_name]
    model = MemoryModel.of(read_header(path))
    for layers, said in truth.expected(path, load, range(1, model.layer_count + 1)).items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers


@pytest.mark.parametrize("load_name", ["default", "no flash attention", "large batch", "two GPUs"])
@pytest.mark.parametrize("name", ["dense", "many logits"])
def test_results_of_all_tokens_are_exact(tmp_path: Path, truth: Truth, name: str, load_name: str) -> None:
    """As for embeddings: with part of the layers on the GPU, and with all. Many logits are most of it."""
    many = llama(architecture="qwen3", n_layer=6, n_embd=1024, n_ff=3072, n_vocab=151936, tied=True, head_norm=True)
    path = {"many logits": many, **MODELS}[name].write(tmp_path / "m.gguf")
    model, load = MemoryModel.of(read_header(path)), replace(LOADS[load_name], embedding=True)
    for layers, said in truth.expected(path, load, range(1, model.layer_count + 1)).items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers


def test_the_order_of_asking_does_not_matter(tmp_path: Path) -> None:
    """What was played before is kept, and gives the same again."""
    header = read_header(MODELS["windows"].write(tmp_path / "m.gguf"))
    model = MemoryModel.of(header)
    n = model.layer_count
    falling = {n_: compute_bytes(model, n_) for n_ in range(n, 0, -1)}
    assert falling == {n_: compute_bytes(MemoryModel.of(header), n_) for n_ in range(1, n + 1)}


def test_experts_in_ram_take_room_on_the_gpu(tmp_path: Path) -> None:
    """They are copied there when it is their turn: at least one of their matrices has to have room."""
    path = gguf_zoo.qwen3moe().write(tmp_path / "m.gguf")
    header = read_header(path)
    model = MemoryModel.of(header)
    matrix = max(tensor.n_bytes for tensor in header.tensors if "_exps" in tensor.name)
    needed = [compute_bytes(model, model.layer_count, n_cpu_moe=count) for count in (0, 1, 2, 24)]
    assert needed[1] > matrix > needed[1] - needed[0] > 0
    assert needed == sorted(needed)
    assert model.estimate(replace(LOAD, n_gpu_layers=1, n_cpu_moe=24)) == model.estimate(
        replace(LOAD, n_gpu_layers=1, n_cpu_moe=24)
    )


def compute_bytes(model: MemoryModel, layers: int, n_cpu_moe: int = 0) -> int:
    return model.estimate(replace(LOAD, n_gpu_layers=layers, n_cpu_moe=n_cpu_moe)).devices[0].compute_bytes


def test_the_smallest_gap_that_is_large_enough_is_taken() -> None:
    pool = BestFit()
    places = [pool.take(size) for size in (512, 128, 256, 128, 512)]
    assert places == [0, 512, 640, 896, 1024]
    for place, size in ((0, 512), (640, 256)):
        pool.give_back(place, size)
    assert pool.take(256) == 640
    assert pool.take(256) == 0
    assert pool.take(1024) == 1536
    assert pool.peak_bytes == 2560


def test_gaps_beside_each_other_are_one() -> None:
    pool = BestFit()
    first, second, third, _ = (pool.take(128) for _ in range(4))
    for place in (first, third, second):
        pool.give_back(place, 128)
    assert len(pool.state) == 2
    assert pool.state[0] == (0, 384)
    assert pool.take(384) == 0
    pool.give_back(384, 128)
    assert [offset for offset, _ in pool.state] == [384]
    assert pool.peak_bytes == 512


def test_a_place_without_bytes_keeps_gaps_apart() -> None:
    """As in llama.cpp: when it is given back it may come between a gap and what is given back behind that later."""
    pool = BestFit()
    first, nothing, second, third = (pool.take(size) for size in (128, 0, 128, 128))
    pool.give_back(first, 128)
    pool.give_back(second, 128)
    pool.give_back(nothing, 0)
    assert pool.state[:2] == ((0, 256), (128, 0))
    pool.give_back(third, 128)
    assert pool.take(512) == 384
    assert pool.take(256) == 0


def test_of_gaps_of_one_size_the_last_is_taken() -> None:
    pool = BestFit()
    places = [pool.take(128) for _ in range(5)]
    pool.give_back(places[0], 128)
    pool.give_back(places[2], 128)
    assert pool.take(128) == places[2]


def test_sizes_are_whole_multiples_of_what_a_gpu_aligns_to() -> None:
    assert [aligned(size) for size in (0, 1, 128, 129)] == [0, 128, 128, 256]
