"""How a GGUF that was made to embed says that it pools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.gguf_models import bert, llama
from launchdeck.models.describe import inspect


@pytest.mark.parametrize(
    ("pooling_type", "word"), [(0, None), (1, "mean"), (2, "cls"), (3, "last"), (4, "rank"), (9, None)]
)
def test_the_word_for_its_number(tmp_path: Path, pooling_type: int, word: str | None) -> None:
    model = llama()
    metadata = {**model.metadata, "llama.pooling_type": pooling_type}
    assert inspect(replace(model, metadata=metadata).write(tmp_path / "m.gguf")).pooling == word


def test_an_encoder_that_says_nothing_takes_the_mean(tmp_path: Path) -> None:
    model = bert()
    metadata = {key: value for key, value in model.metadata.items() if not key.endswith("pooling_type")}
    assert inspect(replace(model, metadata=metadata).write(tmp_path / "m.gguf")).pooling == "mean"
    assert inspect(llama().write(tmp_path / "l.gguf")).pooling is None
