"""The exact command, before it is run: readable, with the layers standing out, and ready to be copied."""

from __future__ import annotations

import html
import math
import re

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication, QResizeEvent, QTextOption
from PySide6.QtWidgets import QFrame, QPushButton, QTextEdit, QVBoxLayout, QWidget

from launchdeck.ui.disclosure import Disclosure
from launchdeck.ui.fonts import mono_font
from launchdeck.ui.i18n import tr
from launchdeck.ui.theme import tokens

_LAYERS = re.compile(r"(--(?:n-gpu-layers|cpu-offload-gb) [\d.]+)")


class CommandText(QTextEdit):
    """As high as its text; the form around it scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setFont(mono_font())
        self.document().setDocumentMargin(0)
        self.viewport().setAutoFillBackground(False)
        self.setAccessibleName(tr("Command"))
        self._command = ""

    def show_command(self, command: str) -> None:
        if command != self._command:
            self._command = command
            self._render()

    def command(self) -> str:
        return self._command

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
