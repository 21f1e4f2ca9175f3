"""The text of a log: bounded, filled in portions, with warnings, errors and what is searched for in colour."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtGui import QColor, QResizeEvent, QTextBlock, QTextCharFormat, QTextCursor, QTextDocument
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget

from launchdeck.ui.deployments.log_levels import LogLevel, level_of
from launchdeck.ui.kit.fonts import mono_font
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.theme import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_LINES = 10_000
MAX_CHARACTERS = 8_000_000
_PORTION_LINES = 500
_PORTION_CHARACTERS = 100_000
_PORTION_MS = 20
_FOUND_ALPHA = 90
_Move = QTextCursor.MoveOperation
_Mode = QTextCursor.MoveMode


class Found(NamedTuple):
    """Which match is shown, counted from 1 at the top, and how many there are."""

    place: int
    total: int


class LogText(QPlainTextEdit):
    """The newest lines. Lines that nobody could have read, because newer ones filled the view, are left out.

    The bound is kept here and not by `setMaximumBlockCount`: that takes out line after line, which takes a hundred
    times as long as to take out all at once, and lets the text run away under the reader's eyes.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.follows = True
        """Whether the end is kept in sight; otherwise the lines that are in sight are."""
        self._waiting: deque[str] = deque(maxlen=MAX_LINES)
        self._open = ""  # the line that has not ended, as it is shown last
        self._wanted = ""
        self.setReadOnly(True)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setUndoRedoEnabled(False)
        self.setFont(mono_font())
        self.setAccessibleName(tr("Log"))
        self.setPlaceholderText(tr("The log of the chosen deployment appears here."))
        self._writing = QTimer(self, interval=_PORTION_MS, singleShot=True)
        self._writing.timeout.connect(self._write)
        self._marking = QTimer(self, interval=0, singleShot=True)
        self._marking.timeout.connect(self._mark)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._marking.start())
        self.document().contentsChanged.connect(self._marking.start)

    # lines

    def is_filled(self) -> bool:
        """Whether all lines that were added are there to be seen and searched."""
        return not self._waiting

    def start_anew(self) -> None:
        """Without any line."""
        self._waiting.clear()
        self._open = ""
        self.clear()

    def add(self, lines: Sequence[str], open_line: str = "") -> None:
        """Show these too, and at the end the line that has not ended yet, as far as it goes."""
        if len(self._waiting) + len(lines) > MAX_LINES:
            self.start_anew()  # all that is shown would be gone before it could be seen
        self._waiting.extend(lines)
        if (lines or open_line != self._open) and not self._writing.isActive():
            self._write(open_line)

    def _write(self, open_line: str = "") -> None:
        bar = self.verticalScrollBar()
        place = bar.value()
        self._take_open_line()
        portion = self._portion()
        if portion:
            self.appendPlainText("\n".join(portion))
        if open_line and not self._waiting:
            self.appendPlainText(open_line)
            self._open = open_line
        place -= self._forget_oldest()
        bar.setValue(bar.maximum() if self.follows else max(place, 0))
        if self._waiting:
            self._writing.start()

    def _portion(self) -> list[str]:
        portion: list[str] = []
        room = _PORTION_CHARACTERS
        while self._waiting and len(portion) < _PORTION_LINES and room > 0:
            portion.append(self._waiting.popleft())
            room -= len(portion[-1])
        return portion

    def _take_open_line(self) -> None:
        if self._open:
            cursor = QTextCursor(self.document())
            cursor.movePosition(_Move.End)
            cursor.movePosition(_Move.StartOfBlock, _Mode.KeepAnchor)
            cursor.movePosition(_Move.PreviousCharacter, _Mode.KeepAnchor)
            cursor.removeSelectedText()
            self._open = ""

    def _forget_oldest(self) -> int:
        """How many lines, as they are wrapped, went out at the top."""
        document = self.document()
        first = document.findBlockByNumber(max(document.blockCount() - MAX_LINES, 0))
        while document.characterCount() - first.position() > MAX_CHARACTERS:
            first = first.next()
        if not first.position():
            return 0
        line_count = first.firstLineNumber()
        cursor = QTextCursor(document)
        cursor.setPosition(first.position(), _Mode.KeepAnchor)
        cursor.removeSelectedText()
        return line_count

    # places

    def search(self, wanted: str, *, backwards: bool = False) -> Found | None:
        """Select the next place with this text, whatever its case, from the cursor on and once around the end.

        None where there is none.
        """
        self._wanted = wanted
        self._marking.start()
        if not wanted:
            return None
        flags = QTextDocument.FindFlag.FindBackward if backwards else QTextDocument.FindFlag(0)
        found = self.find(wanted, flags)
        if not found:
            self.moveCursor(_Move.End if backwards else _Move.Start)
            found = self.find(wanted, flags)
        return self._found() if found else None

    def search_from_match(self, wanted: str) -> Found | None:
        """The same, beginning with what is selected: for a text that is being typed."""
        cursor = self.textCursor()
        cursor.setPosition(cursor.selectionStart())
        self.setTextCursor(cursor)
        return self.search(wanted)

    def _found(self) -> Found:
        places = re.compile(re.escape(self._wanted), re.IGNORECASE)
        before = self.textCursor()
        before.setPosition(before.selectionStart())
        before.movePosition(_Move.Start, _Mode.KeepAnchor)
        number = len(places.findall(before.selection().toPlainText())) + 1
        return Found(number, max(len(places.findall(self.toPlainText())), number))

    def show_next_error(self) -> bool:
        """Select the next line that speaks of an error, from the cursor on and once around the end; False if none."""
        cursor, document = self.textCursor(), self.document()
        count = document.blockCount()
        begin = cursor.blockNumber() + (cursor.hasSelection() or not cursor.atStart())
        for step in range(count):
            block = document.findBlockByNumber((begin + step) % count)
            if level_of(block.text()) is LogLevel.ERROR:
                self._select(block)
                return True
        return False

    def show_line(self, line: str) -> bool:
        """Select the last line with this very text; False if it is not there."""
        block = self.document().lastBlock()
        while block.isValid() and block.text().strip() != line.strip():
            block = block.previous()
        if block.isValid():
            self._select(block)
        return block.isValid()

    def _select(self, block: QTextBlock) -> None:
        cursor = QTextCursor(block)
        cursor.movePosition(_Move.EndOfBlock)
        cursor.movePosition(_Move.StartOfBlock, _Mode.KeepAnchor)  # backwards: its beginning is what has to be in sight
        self.setTextCursor(cursor)
        self.centerCursor()

    # colours

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._marking.start()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.StyleChange:
            self._marking.start()

    def _mark(self) -> None:
        """Only what is in sight: that is cheap, however long the log is and however fast it grows."""
        self.setExtraSelections([mark for block in self._visible_blocks() for mark in self._marks(block)])

    def _visible_blocks(self) -> Iterator[QTextBlock]:
        block = self.firstVisibleBlock()
        top = self.blockBoundingGeometry(block).translated(self.contentOffset()).top()
        while block.isValid() and top <= self.viewport().height():
            yield block
            top += self.blockBoundingRect(block).height()
            block = block.next()

    def _marks(self, block: QTextBlock) -> Iterator[QTextEdit.ExtraSelection]:
        text = block.text()
        level = level_of(text)
        if level is not LogLevel.INFO:
            colour = QTextCharFormat()
            colour.setForeground(QColor(tokens().bad if level is LogLevel.ERROR else tokens().warn))
            yield _marked(block, 0, _units(text), colour)
        if self._wanted:
            ground = QColor(tokens().warn)
            ground.setAlpha(_FOUND_ALPHA)
            found = QTextCharFormat()
            found.setBackground(ground)
            for match in re.finditer(re.escape(self._wanted), text, re.IGNORECASE):
                yield _marked(block, _units(text[: match.start()]), _units(text[: match.end()]), found)


def _marked(block: QTextBlock, start: int, end: int, how: QTextCharFormat) -> QTextEdit.ExtraSelection:
    mark = QTextEdit.ExtraSelection()
    cursor = QTextCursor(block)
    cursor.setPosition(block.position() + start)
    cursor.setPosition(block.position() + end, _Mode.KeepAnchor)
    mark.cursor, mark.format = cursor, how
    return mark


def _units(text: str) -> int:
    """How long Qt thinks that this is: it counts in UTF-16."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
