"""The exact command, before it is run: readable, with the layers standing out, and ready to be copied."""

from __future__ import annotations

import html
import math
import re

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication, QHelpEvent, QResizeEvent, QTextOption
from PySide6.QtWidgets import QFrame, QPushButton, QTextEdit, QToolTip, QVBoxLayout, QWidget

from launchdeck.engines.llama.options import meaning_at
from launchdeck.ui.kit.disclosure import Disclosure
from launchdeck.ui.kit.fonts import mono_font
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.theme import tokens

_LAYERS = re.compile(r"(--(?:n-gpu-layers|cpu-offload-gb) [\d.]+)")


class CommandText(QTextEdit):
    """As high as its text; the form around it scrolls. The mouse over an argument, or the text cursor in it (arrow
    keys), tells what it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.cursorPositionChanged.connect(self._explain_cursor)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setFont(mono_font())
        self.document().setDocumentMargin(0)
        self.setAccessibleName(tr("Command"))
        self._command = ""

    def show_command(self, command: str) -> None:
        if command != self._command:
            self._command = command
            self._render()

    def command(self) -> str:
        return self._command

    def explanation(self, position: int) -> str:
        """What the argument at this place of the text does; nothing between arguments."""
        found = meaning_at(self.toPlainText(), position)
        return "" if found is None else f"{found[0]}: {tr(found[1])}"

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            place = self.cursorForPosition(event.pos()).position()
            QToolTip.showText(event.globalPos(), self.explanation(place), self.viewport())
            return True
        return super().viewportEvent(event)

    def _explain_cursor(self) -> None:
        text = self.explanation(self.textCursor().position()) if self.hasFocus() else ""
        self.setAccessibleDescription(text)
        if text:
            QToolTip.showText(self.viewport().mapToGlobal(self.cursorRect().bottomLeft()), text, self.viewport())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._render()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _render(self) -> None:
        emphasised = _LAYERS.sub(rf'<span style="color:{tokens().text}">\1</span>', html.escape(self._command))
        self.setHtml(f'<span style="color:{tokens().muted}">{emphasised}</span>')
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(math.ceil(self.document().size().height()) + 2)


class CommandView(QWidget):
    """Opens and closes; without a command it is not there."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = CommandText()
        copy = QPushButton(tr("copy"), clicked=self.copy)
        copy.setProperty("kind", "flat")
        copy.setAccessibleName(tr("Copy the command"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(Disclosure(tr("Command"), self._text, opened=True, aside=copy))
        self.show_command("")

    def show_command(self, command: str) -> None:
        self._text.show_command(command)
        self.setVisible(bool(command))

    def command(self) -> str:
        return self._text.command()

    def copy(self) -> None:
        """The whole command, into the clipboard."""
        QGuiApplication.clipboard().setText(self.command())
