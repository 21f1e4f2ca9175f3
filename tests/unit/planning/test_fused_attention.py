"""Which heads llama.cpp's CUDA backend computes attention of in one go. Recorded from its build b10605."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.gguf_models import bert, llama
from fakes.gguf_zoo import deepseek2, gemma4
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from launchdeck.planning.llama.fused_attention import Head

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.gguf_writer import Gguf


@pytest.mark.parametrize("head", [(128, 128, 1), (40, 40, 1), (512, 512, 2), (576, 512, 16), (192, 128, 8)])
def test_fused(head: tuple[int, int, int]) -> None:
    assert Head(*head).is_fused


@pytest.mark.parametrize(
    "head", [(32, 32, 1), (160, 160, 4), (128, 64, 4), (512, 512, 1), (192, 128, 4), (192, 192, 8)]
)
def test_not_fused(head: tuple[int, int, int]) -> None:
    assert not Head(*head).is_fused


@pytest.mark.parametrize(
    ("model", "knows_heads"),
    [
        (llama(), True),
        (llama(head_dim=32), False),
        (deepseek2(), True),
        (gemma4(12, narrow_length=80), True),
        (gemma4(12, narrow_length=32), False),
        (bert(), False),
    ],
)
def test_the_heads_of_all_layers_count(tmp_path: Path, model: Gguf, knows_heads: bool) -> None:
    assert _memory(tmp_path, model).fused_attention.knows_heads is knows_heads


def test_an_encoder_reads_no_cache(tmp_path: Path) -> None:
    assert _memory(tmp_path, bert()).fused_attention.knows_cache("q8_0", "f16")
    assert not _memory(tmp_path, llama()).fused_attention.knows_cache("q8_0", "f16")


@pytest.mark.parametrize(
    ("layers", "compute_bytes"),
    [
        (2, (336136704,)),
        (4, (330697216,)),
        (5, (316745856,)),
        (4, (330697216, 316745856)),
        (5, (426024960, 432316928)),
    ],
)
def test_given_up_it_takes_what_llama_cpp_counts(tmp_path: Path, layers: int, compute_bytes: tuple[int, ...]) -> None:
    """Recorded on CUDA devices: the cache was made for flash attention, so values have to be turned over."""
    model = llama(n_layer=4, n_embd=1024, n_head=8, n_head_kv=2, n_ff=3072, n_vocab=32000)
    gpus = (Device("GPU", None, context_bytes=0),) * len(compute_bytes)
    load = Load(
        layers, 16384, 4, "q8_0", "f16", embedding=False, devices=gpus, split=(1.0,) * len(gpus),
        flash_attention=False, given_up=True,
    )  # fmt: skip
    estimate = _memory(tmp_path, model).estimate(load)
    assert tuple(device.compute_bytes for device in estimate.devices) == compute_bytes


def _memory(folder: Path, model: Gguf) -> MemoryModel:
    return MemoryModel.of(read_header(model.write(folder / "model.gguf")))
