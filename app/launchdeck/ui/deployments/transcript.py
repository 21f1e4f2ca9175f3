"""A conversation as it is read: who says what, thoughts apart from answers, and the tools that a model wants."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent
from PySide6.QtGui import QColor, QTextCharFormat, QTextCursor, QTextFormat
from PySide6.QtWidgets import QPlainTextEdit

from launchdeck.ui.kit.fonts import text_font
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.theme import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launchdeck.serving.client import ChatChunk

_LOWEST_PX = 46
_MAX_LINES = 5000
_IS_MUTED = QTextFormat.Property.UserProperty + 1


class _Kind(Enum):
    THOUGHT = auto()
    TOOL = auto()
    ANSWER = auto()


class Transcript(QPlainTextEdit):
    """What comes is written at the end, and stays in sight of whoever is reading there."""

    def __init__(self) -> None:
        super().__init__(readOnly=True, maximumBlockCount=_MAX_LINES, undoRedoEnabled=False)
        self.setAccessibleName(tr("Conversation"))
        self.setMinimumHeight(_LOWEST_PX)
        self._kind: _Kind | None = None

    def begin(self, speaker: str) -> None:
        """Write who speaks from here on."""
        cursor = self._end()
        if not self.document().isEmpty():
            cursor.insertBlock()
            cursor.insertBlock()
        bold = QTextCharFormat()
        bold.setFont(text_font(bold=True))
        cursor.insertText(speaker, bold)
        cursor.insertBlock()
        cursor.setCharFormat(QTextCharFormat())
        self._kind = None

    def say(self, text: str) -> None:
        """Write what is no thought and no call."""
        self._write(text, _Kind.ANSWER)

    def add(self, chunk: ChatChunk) -> None:
        """Write a piece of an answer, each part of it in its place."""
        self._write(chunk.thought, _Kind.THOUGHT)
        for call in chunk.tool_calls:
            if call.name:
                self._kind = None if self._kind is _Kind.TOOL else self._kind  # another call is a paragraph of its own
            self._write(f"{call.name} {call.arguments}" if call.name else call.arguments, _Kind.TOOL)
        self._write(chunk.text, _Kind.ANSWER)

    def go_to_end(self) -> None:
        """Show the end."""
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def changeEvent(self, event: QEvent) -> None:
        """What is muted is so in the theme's colour."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            for cursor in list(self._muted()):
                cursor.mergeCharFormat(_muted_format())

    def _write(self, text: str, kind: _Kind) -> None:
        if self._kind is not kind:
            text = text.lstrip()  # models leave empty lines between what they think and what they say
        if not text:
            return
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 1
        cursor = self._end()
        if self._kind is not kind:
            self._head(cursor, kind)
        cursor.insertText(text, QTextCharFormat() if kind is _Kind.ANSWER else _muted_format())
        if at_end:
            self.go_to_end()

    def _head(self, cursor: QTextCursor, kind: _Kind) -> None:
        """Begin a paragraph of this kind, which says so unless it is the answer."""
        if not cursor.atBlockStart():
            cursor.insertBlock()
        heads = {_Kind.THOUGHT: tr("Thoughts:"), _Kind.TOOL: tr("Wants to call a tool:")}
        if self._kind is not None and kind is _Kind.ANSWER:
            cursor.insertBlock()
        if kind in heads:
            cursor.insertText(f"{heads[kind]} ", _muted_format())
        self._kind = kind

    def _end(self) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        return cursor

    def _muted(self) -> Iterator[QTextCursor]:
        """A cursor for each stretch of text that is muted."""
        block = self.document().begin()
        while block.isValid():
            parts = block.begin()
            while not parts.atEnd():
                fragment = parts.fragment()
                parts += 1
                if fragment.charFormat().hasProperty(_IS_MUTED):
                    cursor = QTextCursor(self.document())
                    cursor.setPosition(fragment.position())
                    cursor.setPosition(fragment.position() + fragment.length(), QTextCursor.MoveMode.KeepAnchor)
                    yield cursor
            block = block.next()


def _muted_format() -> QTextCharFormat:
    muted = QTextCharFormat()
    muted.setForeground(QColor(tokens().muted))
    muted.setFontItalic(True)
    muted.setProperty(_IS_MUTED, True)
    return muted
