"""Every architecture that the table knows has a model in the zoo, and llama.cpp says the same of it as we do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fakes.gguf_asked import asked_architectures
from fakes.gguf_encoders import jina_bert, modern_bert, neo_bert, nomic_bert_moe
from fakes.gguf_newer import newer_architectures
from fakes.gguf_orders import own_orders
from fakes.gguf_t5 import t5
from fakes.gguf_zoo import every_architecture
from launchdeck.models.architectures.table import ARCHITECTURES
from launchdeck.models.describe import ENCODERS
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from truth.comparing import estimated, without_compute

if TYPE_CHECKING:
    from pathlib import Path

    from truth.oracle import Truth

GPU = Device("GPU", 24 << 30)
ONE = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
LOADS = [ONE, replace(ONE, n_ctx=20000, devices=(GPU,) * 3, split=(3.0, 1.0, 2.0))]
ASKED = dict(asked_architectures())
NEWER = dict(newer_architectures())
# llama.cpp's own graph of it does not go together, in either build.
NOT_LOADED = {"plm"}
# Their layers are not known step by step, so that what they need for computing is near, and not exact.
NOT_REPLAYED = {
    "arctic", "arwkv7", "bailingmoe3", "chameleon", "cogvlm", "dots3note", "glm-dsa", "grovemoe", "hy_v3", "kimi-k3",
    "kimi-linear", "minicpm3", "minimax-01", "nemotron_h_moe", "plamo2", "rwkv6", "rwkv6qwen2", "rwkv7", "talkie",
    "wavtokenizer-dec",
}  # fmt: skip


def test_the_zoo_has_a_model_of_every_architecture() -> None:
    others = (neo_bert(), modern_bert(), jina_bert("jina-bert-v2"), jina_bert("jina-bert-v3"), nomic_bert_moe(), t5())
    models = (
        *(model for _, model in (*every_architecture(), *own_orders())),
        *ASKED.values(),
        *NEWER.values(),
        *others,
    )
    assert {model.metadata["general.architecture"] for model in models} == ARCHITECTURES.keys()


@pytest.mark.parametrize("load", LOADS, ids=["one GPU", "three GPUs"])
@pytest.mark.parametrize("name", sorted(ASKED.keys() - NOT_LOADED))
def test_what_the_engine_says(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    """Weights and cache to the byte, and the rest where the layers' steps are known."""
    path = ASKED[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    load = replace(load, embedding=name in ENCODERS)
    layers = sorted({1, 2, model.layer_count - 1, model.layer_count})
    said = (truth.memory if name in NOT_REPLAYED else truth.expected)(path, load, layers)
    assert said
    for count, memory in said.items():
        ours = estimated(model, load, count)
        if name in NOT_REPLAYED:
            ours, memory = without_compute(ours), without_compute(memory)  # noqa: PLW2901 (both or none)
        assert ours.gpus == memory.gpus, count
        assert without_compute(ours).host == without_compute(memory).host, count


@pytest.mark.parametrize("load", LOADS, ids=["one GPU", "three GPUs"])
@pytest.mark.parametrize("name", NEWER)
@pytest.mark.parametrize("truth", ["b11434"], indirect=True)
def test_what_a_newer_engine_says(tmp_path: Path, truth: Truth, name: str, load: Load) -> None:
    """Weights and cache to the byte; what that build needs for computing is another matter."""
    path = NEWER[name].write(tmp_path / "m.gguf")
    model = MemoryModel.of(read_header(path))
    said = truth.memory(path, load, range(1, model.layer_count + 1))
    assert said
    for count, memory in said.items():
        assert without_compute(estimated(model, load, count)) == without_compute(memory), count
    assert model.is_known
