"""What each GPU needs for models with recurrent layers, against what llama.cpp's CUDA backend reserved: to the byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.gguf_models import Size
from fakes.gguf_recurrent import (
    State,
    falcon_h1,
    granite_hybrid,
    jamba,
    lfm2,
    mamba,
    mamba2,
    nemotron_h,
    qwen3next,
    qwen35,
)
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel

if TYPE_CHECKING:
    from fakes.gguf_writer import Gguf

RECORDED = Path(__file__).parents[2] / "data" / "estimates"
GPU = Device("CUDA0", None)
LOAD = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
BUILDERS = {
    "falcon-h1": falcon_h1,
    "granitehybrid": granite_hybrid,
    "jamba": jamba,
    "lfm2": lfm2,
    "lfm2moe": lfm2,
    "mamba": mamba,
    "mamba2": mamba2,
    "nemotron_h": nemotron_h,
    "qwen35": qwen35,
    "qwen35moe": qwen3next,
    "qwen3next": qwen3next,
}


@dataclass(frozen=True)
class Record:
    """One line of a file, see the README beside it."""

    architecture: str
    arguments: dict[str, Any]
    load: dict[str, Any]
    gpus: dict[str, list[list[int]]]

    @classmethod
    def read_all(cls) -> list[Record]:
        files = sorted(RECORDED.glob("*.jsonl"))
        return [cls(**json.loads(line)) for file in files for line in file.read_text().splitlines()]

    def build(self) -> Gguf:
        arguments = dict(self.arguments)
        for name, kind in (("size", Size), ("state", State)):
            if name in arguments:
                arguments[name] = kind(**arguments[name])
        return BUILDERS[self.architecture](**arguments)

    @property
    def asked(self) -> Load:
        load = replace(LOAD, **self.load)
        return replace(load, split=tuple(load.split), devices=(GPU,) * len(load.split))


@pytest.mark.parametrize("record", Record.read_all(), ids=lambda record: f"{record.architecture} {record.load}")
def test_every_gpu_gets_what_the_engine_reserved(tmp_path: Path, record: Record) -> None:
    """With layers in RAM, and with all of them on one GPU or several."""
    model = MemoryModel.of(read_header(record.build().write(tmp_path / "m.gguf")))
    for layers, gpus in record.gpus.items():
        devices = model.estimate(replace(record.asked, n_gpu_layers=int(layers))).devices
        said = [[device.weights_bytes, device.kv_bytes, device.compute_bytes] for device in devices]
        assert said == gpus, layers
