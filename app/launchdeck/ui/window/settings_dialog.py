"""The settings, as a form made from their declaration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.settings.schema import Section, Settings
from launchdeck.settings.store import from_mapping
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.number_field import NumberField
from launchdeck.ui.kit.wheel_guard import WheelGuard
from launchdeck.ui.kit.wrapping_label import WrappingLabel

LIST_HEIGHT_PX = 64
GROUP_GAP_PX = 8  # below what belongs together
FIELD_MARGIN_PX = 9  # a style sheet leaves a spin box's text at the very edge


class SettingsDialog(QDialog):
    """`saved` carries the new Settings; what cannot be saved is said in the dialog, and nothing typed is lost."""

    saved = Signal(object)

    def __init__(self, settings: Settings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Settings"))
        self._readers: dict[str, Callable[[], Any]] = {}
        self._guard = WheelGuard(self)
        sections = QTabWidget()
        sections.setAccessibleName(tr("Settings"))
        for section in Section:
            sections.addTab(self._make_page(section, settings), tr(section.value))
        self._problem = QLabel()
        self._problem.setWordWrap(True)
        self._problem.setProperty("state", "bad")
        self._problem.hide()
        layout = QVBoxLayout(self)
        layout.addWidget(sections)
        layout.addWidget(self._problem)
        layout.addWidget(self._buttons())
        self.resize(520, 560)

    def show_problem(self, text: str) -> None:
        """Say why the settings could not be saved; the dialog stays open."""
        self._problem.setText(text)
        self._problem.show()

    def _buttons(self) -> QDialogButtonBox:
        buttons = QDialogButtonBox()
        save = buttons.addButton(tr("Save"), QDialogButtonBox.ButtonRole.AcceptRole)
        save.setProperty("kind", "primary")
        buttons.addButton(tr("Cancel"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.accepted.connect(self._save)
        buttons.rejected.connect(self.reject)
        return buttons

    def _save(self) -> None:
        try:
            settings = from_mapping({name: read() for name, read in self._readers.items()})
        except LaunchdeckError as error:
            self.show_problem(tr(error.failure.message))
            return
        self.saved.emit(settings)

    def _make_page(self, section: Section, settings: Settings) -> QScrollArea:
        page = QWidget()
        page.setProperty("role", "page")
        rows = QFormLayout(page, verticalSpacing=4)
        for field in dataclasses.fields(settings):
            if field.metadata["section"] is section:
                self._add_row(rows, field, getattr(settings, field.name))
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(page)
        return scroll

    def _add_row(self, rows: QFormLayout, field: dataclasses.Field[Any], value: Any) -> None:
        editor, self._readers[field.name] = _editor(field, value)
        meaning = tr(field.metadata["meaning"])
        editor.setAccessibleName(meaning)
        editor.setObjectName(field.name)
        if isinstance(editor, QComboBox | QAbstractSpinBox):
            self._guard.watch(editor)
        effect = WrappingLabel("small")
        effect.setText(tr(field.metadata["effect"].value))
        effect.setContentsMargins(0, 0, 0, GROUP_GAP_PX)
        editor.setAccessibleDescription(effect.text())
        if isinstance(editor, QCheckBox):
            editor.setText(meaning)
        else:
            label = QLabel(meaning, wordWrap=True)
            label.setBuddy(editor)
            rows.addRow(label)
        rows.addRow(editor)
        rows.addRow(effect)


def _editor(field: dataclasses.Field[Any], value: Any) -> tuple[QWidget, Callable[[], Any]]:
    """The widget for a setting of this type, and how to read it."""
    limits = field.metadata
    if limits["choices"]:
        return _choice_editor(limits["choices"], value)
    if isinstance(value, bool):
        box = QCheckBox()
        box.setChecked(value)
        return box, box.isChecked
    if isinstance(value, tuple):
        lines = QPlainTextEdit("\n".join(value))
        lines.setFixedHeight(LIST_HEIGHT_PX)
        lines.setTabChangesFocus(True)
        lines.setPlaceholderText(tr("One a line"))
        return lines, lambda: [line.strip() for line in lines.toPlainText().splitlines() if line.strip()]
    if isinstance(value, str):
        line = QLineEdit(value)
        return line, lambda: line.text().strip()
    if isinstance(value, int):
        number = NumberField("", limits["low"], limits["high"], value)
        return number, number.value
    spin = QDoubleSpinBox(decimals=1, minimum=limits["low"], maximum=limits["high"], value=value)
    spin.lineEdit().setTextMargins(FIELD_MARGIN_PX, 0, 0, 0)
    return spin, spin.value


def _choice_editor(choices: tuple[str, ...], value: str) -> tuple[QWidget, Callable[[], Any]]:
    combo = QComboBox()
    for choice in choices:
        combo.addItem(tr(_CHOICE_WORDS[choice]), choice)
    combo.setCurrentIndex(combo.findData(value))
    return combo, combo.currentData


_CHOICE_WORDS = {
    "auto": Message("As the system has it"),
    "en": Message("English"),
    "ko": Message("한국어"),
    "dark": Message("Dark"),
    "light": Message("Light"),
    "merged": Message("All vendors together"),
    "first": Message("The first that answers"),
    "keep": Message("Keep serving"),
    "stop": Message("Stop"),
    "ask": Message("Ask"),
    "never": Message("Never"),
    "on failure": Message("When it failed by accident"),
}
