"""A label of several lines that never asks for more width than it is given, whatever words stand in it."""

from __future__ import annotations

import re
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

_BREAK: Final = "\u200b"
"""A space without width: a line may end there."""
_LONG_WORD: Final = re.compile(r"\S{24,}")
_WITHIN: Final = re.compile(r"(?<=[=/\\_,.:;-])(?=\S)|(?<=\S{24})(?=\S)")


def breakable(text: str) -> str:
    """The text with places for a line to end within its long words: paths, UUIDs, names of variables."""
    return _LONG_WORD.sub(lambda word: _WITHIN.sub(_BREAK, word[0]), text)


class WrappingLabel(QLabel):
    """Plain text. Qt takes a label's longest word for its least width, and a form that holds it would be cut off."""

    def __init__(self, role: str = "") -> None:
        super().__init__(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        if role:
            self.setProperty("role", role)

    def setText(self, text: str) -> None:
        super().setText(breakable(text))
