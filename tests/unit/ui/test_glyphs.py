"""A machine without any fonts shows all that the window says: its own fonts have every character of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

import launchdeck
from launchdeck.resources import resource

_ASCII_END = 127
PACKAGE = Path(launchdeck.__file__).parent
TEXTS = (*PACKAGE.joinpath("ui").rglob("*.py"), resource("translations/ko.json"))


@pytest.mark.parametrize("style", ["Regular", "SemiBold"])
def test_the_fonts_have_every_character(style: str) -> None:
    known = TTFont(resource(f"fonts/LaunchdeckSans-{style}.otf")).getBestCmap()
    texts = [text for path in TEXTS for text in _texts(path)]
    missing = {
        letter: text for text in texts for letter in text if ord(letter) >= _ASCII_END and ord(letter) not in known
    }
    assert len(texts) > len(TEXTS)
    assert missing == {}


def _texts(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield source
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
