"""T5, whose bias by distance is looked up where its table is, and CogVLM against llama.cpp's own accounting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auto_truth import choices
from fakes.gguf_t5 import cogvlm, t5, t5_encoder
from launchdeck.models.describe import ENCODERS
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.gguf_writer import Gguf
    from truth.oracle import Truth

MIB = 1 << 20
GPU = Device("CUDA0", 24 << 30, context_bytes=0)
ONE = Load(0, 512, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
LOADS = {
    "one GPU": ONE,
    "two GPUs": replace(ONE, devices=(GPU,) * 2, split=(3.0, 2.0)),
    "four GPUs": replace(ONE, devices=(GPU,) * 4, split=(24.0, 8.0, 16.0, 12.0)),
    "large batch": replace(ONE, n_ctx=4096, n_ubatch=2048),
    "long": replace(ONE, n_ctx=16384),
    "long, two GPUs": replace(ONE, n_ctx=16384, devices=(GPU,) * 2, split=(3.0, 2.0)),
    "no flash attention": replace(ONE, n_ctx=4096, flash_attention=False),
    "q8_0 cache": replace(ONE, n_ctx=4096, cache_type_k="q8_0", cache_type_v="q8_0"),
}
MODELS = {
    "t5 xl": t5(),
    "t5 small": t5(n_layer=8, n_embd=512, n_head=6, n_ff=1024),
    "t5 long": t5(n_layer=12, n_embd=768, n_head=12, n_ff=2048, n_ctx=16384),
    "t5encoder xl": t5_encoder(),
    "t5encoder xxl": t5_encoder(24, 4096, 64, 10240),
    "cogvlm": cogvlm(),
}
EXACT = {
    "t5 small": MODELS["t5 small"],
    "t5 long": MODELS["t5 long"],
    "umt5": t5(n_layer=6, n_embd=512, n_head=6, n_ff=1024, own_tables=True),
    "umt5's encoder": t5_encoder(7, 1024, 16, 2560, own_tables=True),
    "t5, heads narrower than the model": t5(n_layer=4, n_embd=1024, n_head=6, n_ff=2816),
    "t5encoder xl": MODELS["t5encoder xl"],
    "t5encoder xxl": MODELS["t5encoder xxl"],
    "t5encoder, seven layers": t5_encoder(7, 768, 12, 2048),
}
MANY = {
    **LOADS,
    "GPU for the output alone": replace(ONE, devices=(GPU,) * 2, split=(1.0, 1e-6)),
    "first GPU without layers": replace(ONE, devices=(GPU,) * 3, split=(1e-6, 3.0, 2.0)),
    "three GPUs, large batch": replace(
        ONE, n_ctx=4096, n_ubatch=1024, devices=(GPU,) * 3, split=(1.0, 5.0, 2.0), n_parallel=2
    ),
    "two GPUs, q8_0 cache": replace(
        ONE, n_ctx=2048, cache_type_k="q8_0", cache_type_v="q8_0", devices=(GPU,) * 2, split=(3.0, 2.0)
    ),
    "three GPUs, small batch, no flash attention": replace(
        ONE, n_ubatch=100, flash_attention=False, devices=(GPU,) * 3, split=(24.0, 10.0, 16.0)
    ),
}


@pytest.mark.parametrize("load", MANY.values(), ids=MANY.keys())
@pytest.mark.parametrize("name", EXACT)
def test_every_gpu_gets_the_engines_own_number(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    """With layers in RAM the bias is looked up there for all of them, in a pipeline by the GPU with the first one."""
    model, path, load = prepared(tmp_path, EXACT[name], load)
    answers = truth.expected(path, load, range(1, model.layer_count + 1))
    assert answers
    for layers, said in answers.items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        assert [device.compute_bytes for device in devices] == [gpu.compute for gpu in said.gpus], layers


@pytest.mark.parametrize("load_name", ["one GPU", "two GPUs", "large batch"])
def test_more_layers_than_a_piece_of_the_graph_has_inputs(tmp_path: Path, truth: Truth, load_name: str) -> None:
    """One GPU alone is given the places of the results in another piece, when others are gone."""
    model, path, load = prepared(tmp_path, t5_encoder(40, 512, 8, 1024), LOADS[load_name])
    for layers, said in truth.expected(path, load, [1, 20, 39, 40, 41]).items():
        devices = model.estimate(replace(load, n_gpu_layers=layers)).devices
        is_late = truth.build == "b10605" and len(devices) == 1 and layers == model.layer_count
        late = 4 * load.n_ubatch if is_late else 0
        assert [device.compute_bytes - late for device in devices] == [gpu.compute for gpu in said.gpus], layers


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"t5 long"}))
def test_a_whole_model_on_one_gpu_is_close(tmp_path: Path, truth: Truth, name: str) -> None:
    """With the context that T5 was made for."""
    model, path, load = prepared(tmp_path, MODELS[name], ONE)
    n = model.layer_count
    said = truth.memory(path, load, [n])[n].gpus[0]
    ours = model.estimate(replace(load, n_gpu_layers=n)).devices[0].total_bytes
    assert abs(ours - said.total) < max(64 * MIB, 0.03 * said.total)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
@pytest.mark.parametrize("name", MODELS)
def test_auto_fits(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    model, path, load = prepared(tmp_path, MODELS[name], load)
    taken = choices(truth, path, model, load)
    assert any(choice.short_bytes is not None for choice in taken)
    assert not any(choice.is_overcommitted for choice in taken)


def prepared(tmp_path: Path, gguf: Gguf, load: Load) -> tuple[MemoryModel, Path, Load]:
    path = gguf.write(tmp_path / "m.gguf")
    header = read_header(path)
    return MemoryModel.of(header), path, replace(load, embedding=header.architecture in ENCODERS)
