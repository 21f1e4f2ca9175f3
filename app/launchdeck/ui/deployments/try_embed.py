"""Texts into vectors, and how near they are to each other."""

from __future__ import annotations

import math
import operator
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from launchdeck.ui.kit.asking import Asking
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.serving.client import Embeddings

MAX_TEXTS = 20

Embed = Callable[["Deployment", tuple[str, ...]], Awaitable["Embeddings"]]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors, 0 where one of them has no length."""
    length = math.hypot(*one) * math.hypot(*other)
    return sum(map(operator.mul, one, other)) / length if length else 0.0


class EmbedPane(QWidget):
    """One text a line; shows dimensions, time, and the similarity of every line with every other."""

    def __init__(self, embed: Embed, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._embed = embed
        self._deployment: Deployment | None = None
        self._asking = Asking(self._ended)
        self._texts = QPlainTextEdit(tabChangesFocus=True)
        self._texts.setPlaceholderText(tr("One text a line, at most {count}", count=MAX_TEXTS))
        self._texts.setAccessibleName(tr("Texts, one a line"))
        self._texts.textChanged.connect(self._update_button)
        self.setFocusProxy(self._texts)
        self._similarity = _similarity_table()
        self._status = QLabel(wordWrap=True)
        self._status.setProperty("role", "muted")
        self._send = QPushButton(tr("Embed"), clicked=self.send)
        self._send.setToolTip("Ctrl+Enter")
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(key), self, self.send, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._lay_out()
        self._update_button()

    def set_deployment(self, deployment: Deployment) -> None:
        """Ask this one, as it is at this moment."""
        self._deployment = deployment

    def send(self) -> None:
        """Ask for the vectors of all lines."""
        lines, deployment = self._lines(), self._deployment
        if lines and deployment and not self._asking.is_running:
            self._set_status("…")
            self._asking.start(lambda: self._ask(deployment, lines))
            self._update_button()

    def cancel(self) -> None:
        self._asking.cancel()

    async def _ask(self, deployment: Deployment, lines: tuple[str, ...]) -> None:
        answer = await self._embed(deployment, lines)
        self._set_status(
            tr(
                "{count} × {dimensions} dimensions in {milliseconds} ms",
                count=len(answer.vectors),
                dimensions=answer.dimensions,
                milliseconds=f"{answer.elapsed_s * 1000:.0f}",
            )
        )
        self._show_similarity(lines, answer.vectors)

    def _lines(self) -> tuple[str, ...]:
        lines = (line.strip() for line in self._texts.toPlainText().splitlines())
        return tuple(line for line in lines if line)[:MAX_TEXTS]

    def _show_similarity(self, lines: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        table = self._similarity
        table.setRowCount(len(lines))
        table.setColumnCount(len(lines))
        table.setVerticalHeaderLabels([f"{number}  {line}" for number, line in enumerate(lines, 1)])
        table.setHorizontalHeaderLabels([str(number) for number in range(1, len(lines) + 1)])
        for row, one in enumerate(vectors):
            for column, other in enumerate(vectors):
                item = QTableWidgetItem(f"{cosine(one, other):.3f}")
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                table.setItem(row, column, item)

    def _ended(self, error: str) -> None:
        if error:
            self._set_status(error, failed=True)
        self._update_button()

    def _set_status(self, text: str, *, failed: bool = False) -> None:
        self._status.setText(text)
        self._status.setProperty("state", "bad" if failed else "")
        self._status.style().polish(self._status)

    def _update_button(self) -> None:
        self._send.setEnabled(bool(self._lines()) and not self._asking.is_running)

    def _lay_out(self) -> None:
        middle = QHBoxLayout()
        middle.setSpacing(12)
        middle.addWidget(self._texts, 2)
        middle.addWidget(self._similarity, 3)
        bottom = QHBoxLayout()
        bottom.addWidget(self._status, 1)
        bottom.addWidget(self._send)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(8)
        column.addLayout(middle, 1)
        column.addLayout(bottom)


def _similarity_table() -> QTableWidget:
    table = QTableWidget()
    table.setAccessibleName(tr("Similarity between the lines"))
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    table.verticalHeader().setFixedWidth(150)
    table.verticalHeader().setTextElideMode(Qt.TextElideMode.ElideRight)
    table.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    return table
