"""What vLLM will take: sums over the headers, divided as vLLM divides them, and the budget it is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.safetensors_writer import bert_config, bert_tensors, llama_config, llama_tensors, write_model
from launchdeck.models.safetensors.safetensors import read_safetensors
from launchdeck.planning.llama.estimate import GPU_CONTEXT_BYTES
from launchdeck.planning.vllm.memory import VllmDevice, VllmLoad, VllmMemory

GIB = 1 << 30
SHAPE_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
BLOCK_8B = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336 + 2 * 4096)
TABLE_8B = 2 * 128256 * 4096
CARD = VllmDevice("GPU 0", 23 * GIB, 24 * GIB)
LOAD = VllmLoad(n_gpu_layers=33, n_ctx=8192, n_parallel=4, n_batch=2048, dtype_bytes=2, devices=(CARD,))


def memory_of(folder: Path, config: dict[str, Any], tensors: Any = None, dtype: str = "BF16") -> VllmMemory:
    return VllmMemory(read_safetensors(write_model(folder, config, tensors, dtype)))


@pytest.fixture
def big(tmp_path: Path) -> VllmMemory:
    return memory_of(tmp_path / "8b", llama_config(**SHAPE_8B))


def cards(count: int, load: VllmLoad = LOAD, **changes: Any) -> VllmLoad:
    return replace(load, devices=tuple(replace(CARD, name=f"GPU {i}") for i in range(count)), **changes)


def test_all_weights_lie_on_one_gpu(big: VllmMemory) -> None:
    (device,) = big.budget(LOAD).estimate.devices
    assert device.weights_bytes == 32 * BLOCK_8B + 2 * TABLE_8B + 2 * 4096
    assert big.budget(LOAD).estimate.host.total_bytes == 0


@pytest.mark.parametrize("n_parallel", [1, 4, 16])
def test_the_cache_holds_every_sequence_in_whole(big: VllmMemory, n_parallel: int) -> None:
    load = cards(1, n_parallel=n_parallel, n_ctx=1024)
    budget = big.budget(load)
    assert budget.kv_bytes == n_parallel * 1024 * 32 * 2 * 8 * 128 * 2
    assert budget.sequences == n_parallel


def test_the_budget_is_what_is_needed_and_no_more(big: VllmMemory) -> None:
    budget = big.budget(cards(1, n_ctx=1024))
    (device,) = budget.estimate.devices
    assert device.fits
    assert budget.utilization * 24 * GIB == pytest.approx(device.total_bytes - GPU_CONTEXT_BYTES, abs=0.001 * 24 * GIB)
    assert budget.utilization * 24 * GIB >= device.total_bytes - GPU_CONTEXT_BYTES


def test_a_small_model_leaves_the_card_to_others(tmp_path: Path) -> None:
    budget = memory_of(tmp_path, llama_config()).budget(replace(LOAD, n_gpu_layers=5))
    assert 0 < budget.utilization < 0.1


def test_the_cache_shrinks_to_what_is_free_and_that_is_the_cap(big: VllmMemory) -> None:
    wanted = cards(1, n_ctx=16384, n_parallel=8)
    budget = big.budget(wanted)
    (device,) = budget.estimate.devices
    assert 1 <= budget.sequences < 8
    assert device.fits
    assert budget.utilization * 24 * GIB <= 23 * GIB - GPU_CONTEXT_BYTES
    assert big.budget(wanted, margin_bytes=GIB).sequences < budget.sequences


def test_one_sequence_is_the_least_and_may_not_fit(big: VllmMemory) -> None:
    budget = big.budget(cards(1, n_ctx=131072))
    assert budget.sequences == 1
    assert budget.estimate.devices[0].fits is False
    assert budget.utilization * 24 * GIB <= 23 * GIB


def test_without_numbers_there_is_no_budget(big: VllmMemory) -> None:
    for device in (replace(CARD, free_bytes=None), replace(CARD, total_bytes=None)):
        assert big.budget(replace(LOAD, devices=(device,))).utilization is None
    assert big.largest_layer_count(replace(LOAD, devices=(replace(CARD, free_bytes=None),)), 0) is None


def test_tensor_parallel_divides_all_but_norms(big: VllmMemory) -> None:
    for size in (2, 4, 8):
        budget = big.budget(cards(size, tensor_parallel=size))
        for device in budget.estimate.devices:
            whole = 65 * 4096 * 2
            assert device.weights_bytes == (32 * BLOCK_8B + 2 * TABLE_8B + 2 * 4096 - whole) // size + whole
            assert device.kv_bytes == 4 * 8192 * 32 * 2 * (8 // size) * 128 * 2


def test_with_more_gpus_than_heads_some_heads_are_held_twice(tmp_path: Path) -> None:
    config = llama_config(num_attention_heads=8, num_key_value_heads=2, head_dim=64, hidden_size=512)
    memory = memory_of(tmp_path, config)
    two, four = (memory.budget(cards(n, tensor_parallel=n, n_gpu_layers=5)) for n in (2, 4))
    assert two.kv_bytes == four.kv_bytes
    assert four.estimate.devices[0].weights_bytes > two.estimate.devices[0].weights_bytes / 2


@pytest.mark.parametrize(("gpus", "tensor"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (8, 8)])
def test_heads_decide_between_tensor_and_pipeline(big: VllmMemory, gpus: int, tensor: int) -> None:
    assert big.tensor_parallel(gpus) == tensor


def test_a_pipeline_gives_each_stage_its_blocks(big: VllmMemory) -> None:
    budget = big.budget(cards(3, pipeline_parallel=3))
    first, middle, last = (device.weights_bytes for device in budget.estimate.devices)
    assert first == 10 * BLOCK_8B + TABLE_8B + BLOCK_8B
    assert middle == 11 * BLOCK_8B
    assert last == 10 * BLOCK_8B + TABLE_8B + 2 * 4096
    assert budget.kv_bytes == 4 * 8192 * 11 * 2 * 8 * 128 * 2


def test_a_tied_output_is_loaded_once(tmp_path: Path) -> None:
    config = llama_config(tie_word_embeddings=True)
    (device,) = memory_of(tmp_path / "a", config).budget(LOAD).estimate.devices
    (other,) = memory_of(tmp_path / "b", llama_config()).budget(LOAD).estimate.devices
    assert other.weights_bytes - device.weights_bytes == 1000 * 256 * 2


@pytest.mark.parametrize("layers", [1, 20, 32, 33])
def test_layers_left_in_ram_are_their_bytes(big: VllmMemory, layers: int) -> None:
    budget = big.budget(replace(LOAD, n_gpu_layers=layers))
    assert budget.offload_bytes == (33 - layers) * BLOCK_8B
    assert budget.estimate.host.weights_bytes == budget.offload_bytes
    two = big.budget(cards(2, tensor_parallel=2, n_gpu_layers=layers))
    assert two.offload_bytes == pytest.approx(budget.offload_bytes / 2, rel=0.001)
    assert two.estimate.host.weights_bytes == 2 * two.offload_bytes


def test_the_largest_layer_count_fits_and_one_more_does_not(big: VllmMemory) -> None:
    small = replace(LOAD, devices=(replace(CARD, free_bytes=10 * GIB),))
    layers = big.largest_layer_count(small, 0)
    assert 0 < layers < 33
    assert big.budget(replace(small, n_gpu_layers=layers)).estimate.devices[0].fits
    assert not big.budget(replace(small, n_gpu_layers=layers + 1)).estimate.devices[0].fits
    assert big.largest_layer_count(small, GIB) < layers
    assert big.largest_layer_count(LOAD, 0) == 33
    assert big.largest_layer_count(replace(LOAD, devices=(replace(CARD, free_bytes=GIB),)), 0) == 0


def test_an_encoder_keeps_no_cache(tmp_path: Path) -> None:
    memory = memory_of(tmp_path, bert_config(), bert_tensors(bert_config()), "F32")
    budget = memory.budget(replace(LOAD, n_gpu_layers=3))
    assert budget.kv_bytes == 0
    assert budget.sequences == 4
    stored = sum(a * b * 4 for a, b in bert_tensors(bert_config()).values())
    assert budget.estimate.devices[0].weights_bytes == stored // 2  # single precision becomes half


def test_packed_weights_stay_as_they_are(tmp_path: Path) -> None:
    config = llama_config(quantization_config={"quant_method": "awq", "bits": 4})
    tensors = {"model.layers.0.mlp.up_proj.qweight": (256, 86), "model.layers.0.mlp.up_proj.scales": (2, 688)}
    memory = memory_of(tmp_path, config, tensors, "I32")
    assert memory.budget(LOAD).estimate.devices[0].weights_bytes == (256 * 86 + 2 * 688) * 4


def test_latent_attention_keeps_one_row_on_every_gpu(tmp_path: Path) -> None:
    config = llama_config(kv_lora_rank=512, qk_rope_head_dim=64)
    memory = memory_of(tmp_path, config)
    for size in (1, 2):
        load = cards(size, tensor_parallel=size, n_ctx=1024, n_parallel=1, n_gpu_layers=5)
        assert memory.budget(load).kv_bytes == 1024 * 4 * (512 + 64) * 2


def test_windows_and_states_keep_less(tmp_path: Path) -> None:
    kinds = ["sliding_attention", "full_attention", "linear_attention", "full_attention"]
    config = llama_config(sliding_window=512, layer_types=kinds)
    load = cards(1, n_ctx=8192, n_parallel=1, n_batch=2048, n_gpu_layers=5)
    row = 2 * 2 * 64 * 2
    assert memory_of(tmp_path, config).budget(load).kv_bytes == row * (2560 + 0 + 2 * 8192)


def test_on_the_cpu_everything_is_ram(big: VllmMemory) -> None:
    budget = big.budget(replace(LOAD, devices=(), n_gpu_layers=0, host_free_bytes=64 * GIB))
    assert budget.estimate.devices == ()
    host = budget.estimate.host
    assert host.weights_bytes == 32 * BLOCK_8B + 2 * TABLE_8B + 2 * 4096
    assert host.kv_bytes == 4 * 8192 * 32 * 2 * 8 * 128 * 2
    assert host.fits
    assert budget.utilization is None


def test_every_tensor_is_counted_once(tmp_path: Path) -> None:
    config = llama_config()
    (device,) = memory_of(tmp_path, config).budget(LOAD).estimate.devices
    total = 0
    for shape in llama_tensors(config).values():
        count = 2
        for length in shape:
            count *= length
        total += count
    assert device.weights_bytes == total


def test_an_output_layer_that_is_not_said_to_be_tied_is_loaded(tmp_path: Path) -> None:
    config = llama_config(**SHAPE_8B)
    del config["tie_word_embeddings"]
    (device,) = memory_of(tmp_path, config, llama_tensors(config)).budget(LOAD).estimate.devices
    assert device.weights_bytes == 32 * BLOCK_8B + 2 * TABLE_8B + 2 * 4096
    inner = {f"language_model.{name}": shape for name, shape in llama_tensors(config).items()}
    (nested,) = memory_of(tmp_path / "inner", config, inner).budget(LOAD).estimate.devices
    assert nested.weights_bytes == device.weights_bytes


def test_blocks_that_only_speculate_are_not_loaded(tmp_path: Path) -> None:
    config = llama_config(**SHAPE_8B)
    tensors = llama_tensors(config) | {
        "model.layers.32.mlp.up_proj.weight": (14336, 4096),
        "mtp.layers.0.mlp.up_proj.weight": (14336, 4096),
    }
    (device,) = memory_of(tmp_path, config, tensors).budget(LOAD).estimate.devices
    assert device.weights_bytes == 32 * BLOCK_8B + 2 * TABLE_8B + 2 * 4096
    tower = {"vision_tower.encoder.layers.40.mlp.up_proj.weight": (100, 100)}
    (seeing,) = memory_of(tmp_path / "eyes", config, llama_tensors(config) | tower).budget(LOAD).estimate.devices
    assert seeing.weights_bytes == device.weights_bytes + 2 * 100 * 100
