"""The estimate against llama.cpp's own accounting, byte by byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.gguf_models import llama
from fakes.gguf_writer import Gguf, Tensor
from fakes.gguf_zoo import every_architecture
from launchdeck.models.describe import ENCODERS
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from launchdeck.planning.llama.fit import largest_layer_count
from truth.comparing import estimated, without_compute
from truth.engine import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from truth.oracle import Truth

GPU = Device("CUDA0", 24 << 30)
LOAD = Load(
    n_gpu_layers=0,
    n_ctx=8192,
    n_parallel=4,
    cache_type_k="f16",
    cache_type_v="f16",
    embedding=False,
    devices=(GPU,),
    split=(1.0,),
)
TWO_GPUS = replace(LOAD, devices=(GPU, GPU), split=(1.0, 1.0))
DENSE = {
    "llama": llama(n_layer=6),
    "llama tied": llama(n_layer=6, tied=True, n_vocab=1000, quant="q4_k"),
    "qwen2": llama(n_layer=6, architecture="qwen2", attention_bias=True, quant="f16"),
    "qwen3": llama(n_layer=6, architecture="qwen3", head_norm=True, head_dim=128, n_embd=640, n_ff=1920, quant="q5_0"),
    "llama 8B": llama(n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, n_ff=14336, n_vocab=128256, quant="q4_k"),
}


def without_cache(memory: Memory) -> Memory:
    return Memory(tuple(replace(gpu, kv=0) for gpu in memory.gpus), replace(memory.host, kv=0))


LOADS = {
    "default": LOAD,
    "odd context": replace(LOAD, n_ctx=5000),
    "short context": replace(LOAD, n_ctx=100),
    "slots apart": replace(LOAD, n_ctx=5000, n_parallel=3, kv_unified=False),
    "q8_0 cache": replace(LOAD, cache_type_k="q8_0", cache_type_v="q8_0"),
    "q8_0 and q4_0 cache": replace(LOAD, cache_type_k="q8_0", cache_type_v="q4_0"),
    "two GPUs": TWO_GPUS,
    "three uneven GPUs": replace(LOAD, devices=(GPU,) * 3, split=(24.0, 5.5, 11.0)),
    "large batch": replace(LOAD, n_ubatch=2048),
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
@pytest.mark.parametrize("name", DENSE)
def test_weights_and_cache_are_exact(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    path = DENSE[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    for layers, said in truth.memory(path, load, range(1, model.layer_count + 1)).items():
        assert without_compute(estimated(model, load, layers)) == without_compute(said), layers


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(
    "load",
    [LOAD, replace(LOAD, kv_unified=False), replace(LOAD, flash_attention=False), replace(LOAD, n_ubatch=1024)],
    ids=["default", "slots apart", "no flash attention", "large batch"],
)
def test_a_whole_dense_model_on_one_gpu_is_exact(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    path = DENSE[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    said = truth.expected(path, load, [model.layer_count])[model.layer_count]
    assert estimated(model, load, model.layer_count) == said


MIB = 1 << 20
ARCHITECTURES = dict(every_architecture())
# The accounting cannot place recurrent states on its pretended GPUs.
STATES = {"mamba", "mamba2", "granitehybrid", "falcon-h1", "lfm2", "qwen3next", "qwen35", "nemotron_h"}
# For each token: the cache of a layer that only predicts further tokens. b11434 makes none, which the estimate does not
# know of.
UNUSED_CACHE_BYTES = {("b11434", "glm4moe"): 4096}
VECTORS = {"bert", "nomic-bert", "gemma-embedding"}
# Measured: their indexers, and what BitNet and CodeShell do to a result in place, are a few MiB either way;
# T5's are bounds.
ABOUT = {"bitnet", "codeshell", "deepseek32", "grok", "minimax-m3", "t5encoder"}


@pytest.mark.parametrize("load", [LOAD, replace(LOAD, n_ctx=20000, devices=(GPU,) * 3, split=(3.0, 1.0, 2.0))])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_exact(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    path = ARCHITECTURES[name].write(tmp_path / "m.gguf")
    header = read_header(path)
    model = MemoryModel.of(header)
    load = replace(load, embedding=header.architecture in ENCODERS)
    n = model.layer_count
    answers = truth.memory(path, load, sorted({1, 2, n // 3, n // 2, n - 1, n}))
    assert answers
    unused = UNUSED_CACHE_BYTES.get((truth.build, name), 0) * -(-load.n_ctx // 256) * 256
    for layers, said in answers.items():
        ours, true = without_compute(estimated(model, load, layers)), without_compute(said)
        surplus = [mine.kv - their.kv for mine, their in zip(ours.devices, true.devices, strict=True)]
        assert [size for size in surplus if size] == ([unused] if unused else []), layers
        assert without_cache(ours) == without_cache(true), layers


@pytest.mark.parametrize(
    "name", ["bert", "deepseek2", "falcon-h1", "gemma3n", "gemma4", "grok", "minimax-m3", "nemotron_h"]
)
def test_the_cache_without_flash_attention_is_exact(tmp_path: Path, truth: Truth, name: str) -> None:
    """Values are then as wide in every layer as in the widest."""
    path = ARCHITECTURES[name].write(tmp_path / "m.gguf")
    header = read_header(path)
    model = MemoryModel.of(header)
    load = replace(LOAD, n_ctx=3000, flash_attention=False, embedding=header.architecture in ENCODERS)
    answers = truth.memory(path, load, [1, model.layer_count // 2, model.layer_count])
    assert answers
    for layers, said in answers.items():
        assert without_compute(estimated(model, load, layers)) == without_compute(said), layers


@pytest.mark.parametrize("name", ["gemma3n", "gemma4"])
@pytest.mark.parametrize("split", [(3.0, 2.0), (2.0, 3.0), (1.0, 5.0, 5.0), (6.0, 3.0, 2.0, 1.0)], ids=str)
@pytest.mark.parametrize("n_ubatch", [256, 512])
def test_what_layers_read_of_other_gpus_is_copied(
    tmp_path: Path, truth: Truth, name: str, split: tuple[float, ...], n_ubatch: int
) -> None:
    """The streams of Gemma 3n, and the caches of layers that have none of their own, four times."""
    path = ARCHITECTURES[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    load = replace(LOAD, n_ctx=16384, n_ubatch=n_ubatch, devices=(GPU,) * len(split), split=split)
    said = truth.expected(path, load, [model.layer_count])[model.layer_count]
    for ours, true in zip(estimated(model, load, model.layer_count).gpus, said.gpus, strict=True):
        assert -16 * MIB < ours.total - true.total < 96 * MIB


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - STATES))
def test_a_whole_model_on_one_gpu_needs_what_is_estimated(tmp_path: Path, truth: Truth, name: str) -> None:
    path = ARCHITECTURES[name].write(tmp_path / "m.gguf")
    header = read_header(path)
    model = MemoryModel.of(header)
    load = replace(LOAD, embedding=header.architecture in ENCODERS)
    said = truth.expected(path, load, [model.layer_count])[model.layer_count].gpus[0]
    compute = estimated(model, load, model.layer_count).gpus[0].compute
    if name in VECTORS | ABOUT:
        assert abs(compute - said.compute) < (MIB if name in VECTORS else 64 * MIB)
    else:
        assert compute == said.compute


@pytest.mark.parametrize("name", ["llama-8b", "qwen3-32b", "gpt-oss", "qwen3moe", "deepseek2"])
def test_a_model_partly_on_gpus_is_close(tmp_path: Path, truth: Truth, name: str) -> None:
    path = ARCHITECTURES[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    n = model.layer_count
    for load in (LOAD, TWO_GPUS, replace(LOAD, n_ctx=32768)):
        for layers, said in truth.memory(path, load, [1, n // 2, n - 1]).items():
            for ours, true in zip(estimated(model, load, layers).gpus, said.gpus, strict=True):
                assert abs(ours.total - true.total) < max(64 * MIB, 0.03 * true.total), (load, layers)


@pytest.mark.parametrize(
    "name", ["llama-8b", "qwen3moe", "deepseek2", "mamba2", "falcon-h1", "qwen35", "granite_window"]
)
def test_an_architecture_that_nobody_knows_is_known_by_its_keys_and_tensors(tmp_path: Path, name: str) -> None:
    """Weights and cache are those of the architecture that it is like."""
    known = granite_window() if name == "granite_window" else ARCHITECTURES[name]
    named = str(known.metadata["general.architecture"])
    keys = {key.replace(f"{named}.", "new-one.", 1): value for key, value in known.metadata.items()}
    renamed = Gguf(keys | {"general.architecture": "new-one"}, known.tensors)
    models = [MemoryModel.of(read_header(g.write(tmp_path / f"{i}.gguf"))) for i, g in enumerate((known, renamed))]
    for layers in (0, 3, models[0].layer_count):
        ours, true = (estimated(model, TWO_GPUS, layers) for model in reversed(models))
        assert without_compute(ours) == without_compute(true), layers


def granite_window() -> Gguf:
    """Granite with a window in three of four layers."""
    window = {"granite_swa.attention.sliding_window": 1024}
    pattern = {"granite_swa.attention.sliding_window_pattern": [i % 4 != 3 for i in range(8)]}
    plain = llama(architecture="granite_swa", n_layer=8, logit_scale=8.0)
    return replace(plain, metadata={**plain.metadata, **window, **pattern})


def test_results_for_every_token_need_room(tmp_path: Path, truth: Truth) -> None:
    path = ARCHITECTURES["llama-8b"].write(tmp_path / "m.gguf")
    load = replace(LOAD, embedding=True)
    assert estimated(MemoryModel.of(read_header(path)), load, 33) == truth.expected(path, load, [33])[33]


def test_shards_and_big_files_are_one_model(tmp_path: Path) -> None:
    whole = MemoryModel.of(read_header(ARCHITECTURES["llama-70b"].write(tmp_path / "m.gguf")))
    parts = MemoryModel.of(read_header(ARCHITECTURES["llama-70b"].write_split(tmp_path, "m", 5)[0]))
    load = replace(LOAD, n_gpu_layers=40)
    assert parts.estimate(load) == whole.estimate(load)


def test_a_header_that_says_nothing_has_one_layer(tmp_path: Path) -> None:
    model = MemoryModel.of(read_header(Gguf({}, (Tensor("output.weight", (64, 64)),)).write(tmp_path / "m.gguf")))
    estimate = model.estimate(replace(LOAD, n_gpu_layers=1))
    assert model.layer_count == 1
    assert (estimate.devices[0].weights_bytes, estimate.devices[0].kv_bytes) == (4 * 64 * 64, 0)


@pytest.fixture
def model(tmp_path: Path) -> MemoryModel:
    return MemoryModel.of(
        read_header(
            llama(n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, n_ff=14336, n_vocab=128256).write(
                tmp_path / "m.gguf"
            )
        )
    )


@pytest.mark.parametrize("load", [LOAD, replace(LOAD, n_gpu_layers=9, devices=(), split=())], ids=["0", "no GPU"])
def test_no_layers_are_all_on_the_host(model: MemoryModel, load: Load) -> None:
    estimate = model.estimate(load)
    whole = model.estimate(replace(LOAD, n_gpu_layers=99))
    assert [device.total_bytes for device in estimate.devices] == [0] * len(load.devices)
    assert estimate.host.device == "CPU"
    assert estimate.host.kv_bytes == whole.devices[0].kv_bytes
    assert estimate.host.weights_bytes == whole.devices[0].weights_bytes + whole.host.weights_bytes


def test_more_layers_than_there_are_mean_all(model: MemoryModel) -> None:
    assert model.estimate(replace(LOAD, n_gpu_layers=999)) == model.estimate(replace(LOAD, n_gpu_layers=33))


def test_devices_keep_their_names_and_free_memory(model: MemoryModel) -> None:
    load = replace(
        LOAD, n_gpu_layers=20, devices=(Device("A", 5), Device("B", None, context_bytes=0)), split=(1.0, 3.0)
    )
    estimate = model.estimate(replace(load, host_free_bytes=1 << 50))
    assert [(d.device, d.free_bytes, d.overhead_bytes, d.fits) for d in estimate.devices] == [
        ("A", 5, 300 << 20, False),
        ("B", None, 0, None),
    ]
    assert estimate.host.fits is True


@pytest.mark.parametrize("free_gib", [0, 1, 2, 4, 8, 16, 80])
def test_the_largest_layer_count_fits_and_one_more_does_not(model: MemoryModel, free_gib: int) -> None:
    load = replace(LOAD, devices=(Device("A", free_gib << 30), Device("B", free_gib << 30)), split=(1.0, 1.0))
    margin = 256 << 20
    largest = largest_layer_count(model, load, margin)
    assert largest is not None

    def fits(layers: int) -> bool:
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        return all(device.total_bytes + margin <= free_gib << 30 for device in devices)

    assert largest == 0 or fits(largest)
    assert not any(fits(layers) for layers in range(largest + 1, model.layer_count + 1))
    assert (largest == 0, largest == model.layer_count) == (free_gib < 2, free_gib >= 8)


def test_unknown_free_memory_leaves_the_largest_unknown(model: MemoryModel) -> None:
    load = replace(LOAD, devices=(GPU, Device("B", None)), split=(1.0, 1.0))
    assert largest_layer_count(model, load, 0) is None


def test_without_devices_no_layer_fits(model: MemoryModel) -> None:
    assert largest_layer_count(model, replace(LOAD, devices=(), split=()), 0) == 0


KEYS = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.key_length_mla",
    "attention.recurrent_layers", "attention.shared_kv_layers", "attention.sliding_window",
    "attention.sliding_window_pattern", "attention.value_length", "block_count", "embedding_length",
    "expert_used_count", "feed_forward_length", "full_attention_interval", "kda.head_dim", "nextn_predict_layers",
    "shortconv.l_cache", "ssm.conv_kernel", "ssm.inner_size", "token_shift_count", "vocab_size", "wkv.head_size",
)  # fmt: skip
NAMES = ("gemma3", "gemma4", "llama4", "qwen3next", "jamba", "rwkv7", "kimi-linear", "nemotron_h", "lfm2", "deepseek2")
ODD = st.sampled_from([0, 1, 2, 3, 64, 511, 513, 1 << 20, (1 << 63) - 1, -1, 0.5, "x", True, [0, 1], [True, False], []])


@pytest.mark.parametrize("shared", [-1, 6, 7, 1 << 20])
def test_more_borrowed_caches_than_layers_are_none(tmp_path: Path, shared: int) -> None:
    metadata = {"general.architecture": "gemma4", "gemma4.block_count": 6, "gemma4.attention.shared_kv_layers": shared}
    model = MemoryModel.of(read_header(Gguf(metadata, (Tensor("a", (64, 2)),)).write(tmp_path / "odd.gguf")))
    for layers in range(8):
        assert isinstance(model.estimate(replace(TWO_GPUS, n_gpu_layers=layers)).host.total_bytes, int)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), keys=st.dictionaries(st.sampled_from(KEYS), ODD), layers=st.integers(0, 600))
def test_odd_headers_have_an_estimate_too(tmp_path: Path, name: str, keys: dict[str, object], layers: int) -> None:
    """Whatever a header says, nothing is allocated that it could make huge, and nothing is divided by its zeros."""
    tensors = tuple(Tensor(name, (64, 2)) for name in ("blk", "blk.", "blk.0", "blk.x.y", "blk.999.ffn_up.weight", "a"))
    metadata = {"general.architecture": name} | {f"{name}.{key}": value for key, value in keys.items()}
    model = MemoryModel.of(read_header(Gguf(metadata, tensors).write(tmp_path / "odd.gguf")))
    assert 1 <= model.layer_count <= 513
    assert isinstance(model.estimate(replace(TWO_GPUS, n_gpu_layers=layers)).host.total_bytes, int)


PARTS = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_q_norm", "attn_sinks", "attn_kv_a_mqa",
    "attn_kv_a_norm", "attn_k_b", "attn_v_b", "ffn_norm", "ffn_up", "ffn_down", "ffn_gate", "ffn_gate_inp",
    "ffn_up_exps", "ffn_down_exps", "ffn_gate_exps", "ffn_up_shexp", "ffn_down_shexp", "exp_probs_b", "attn_rel_b",
)  # fmt: skip
SHAPES = st.sampled_from([(64, 64), (64, 128), (64, 64, 4)])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(("llama", "gemma4", "t5encoder", "deepseek2", "tomorrow")),
    left_out=st.sets(st.sampled_from(PARTS), max_size=4),
    flat=st.sets(st.sampled_from(PARTS), max_size=1),
    biases=st.sets(st.sampled_from(PARTS)),
    shapes=st.lists(SHAPES, min_size=len(PARTS), max_size=len(PARTS)),
    layers=st.integers(0, 4),
)
def test_odd_layers_have_an_estimate_too(
    tmp_path: Path,
    name: str,
    left_out: set[str],
    flat: set[str],
    biases: set[str],
    shapes: list[tuple[int, ...]],
    layers: int,
) -> None:
    """Whatever weights a layer has and has not, and whatever their shapes."""
    kinds = [
        (part, shape, "bias" if part in biases & left_out else "weight")
        for part, shape in zip(PARTS, shapes, strict=True)
    ]
    tensors = [
        Tensor(f"{'enc.' * (name == 't5encoder')}blk.{layer}.{part}.{kind}", shape[:1] if part in flat else shape)
        for layer in range(3)
        for part, shape, kind in kinds
        if part not in left_out or kind == "bias"
    ]
    keys = {"block_count": 3, "embedding_length": 64, "attention.head_count": 2, "attention.kv_lora_rank": 16}
    keys |= {"attention.key_length": 32, "attention.value_length": 32, "expert_used_count": 2, "context_length": 512}
    metadata = {"general.architecture": name} | {f"{name}.{key}": value for key, value in keys.items()}
    model = MemoryModel.of(read_header(Gguf(metadata, tuple(tensors)).write(tmp_path / "odd.gguf")))
    for load in (LOAD, TWO_GPUS):
        assert isinstance(model.estimate(replace(load, n_gpu_layers=layers)).host.total_bytes, int)
