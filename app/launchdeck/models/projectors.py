"""Projectors: the files (mmproj) that let a model see images or hear, and which model they belong to."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from launchdeck.files.apart import looking_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MARK = "mmproj"
# What is left of a projector's name when these words are taken away is the name of its model.
_OTHER_WORDS = re.compile(r"mmproj|model|gguf|bf16|fp?16|fp?32|q8_0|[-_.]+", re.IGNORECASE)


def is_projector_name(name: str) -> bool:
    """By convention of llama.cpp's conversion script, which LM Studio and Hugging Face follow."""
    return _MARK in name.lower() and name.lower().endswith(".gguf")


def projector_of(model: str, projectors: Sequence[str]) -> str | None:
    """Which of these files in the model's folder is for it: one that bears its name, or else one that bears none."""
    plain = _plain(model)
    named = [name for name in projectors if (own := _plain(name)) and plain.startswith(own)]
    nameless = [name for name in projectors if not _plain(name)]
    return next(iter((*named, *nameless)), None)


def projector_beside(path: Path) -> Path | None:
    """The projector in the folder of this model."""
    try:
        looking_at(path.parent)
        names = sorted(filter(is_projector_name, os.listdir(path.parent)))  # noqa: PTH208 (names are all that is wanted)
    except (OSError, ValueError):
        return None  # reading the model itself has told what is wrong
    found = None if is_projector_name(path.name) else projector_of(path.name, names)
    return path.with_name(found) if found else None


def _plain(name: str) -> str:
    return _OTHER_WORDS.sub("", name).lower()
