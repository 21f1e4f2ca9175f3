"""The deploy form in a person's hands: what its tests share. The fixtures are in conftest.py."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from fakes import samples
from launchdeck.domain.gpu import GpuType
from launchdeck.ui.deploy.command_view import CommandView
from launchdeck.ui.deploy.estimate_panel import EstimatePanel

PORT = 8004
WAIT_MS = 5000
WORKER = "127.0.0.1:50052"
ENGINE = replace(samples.LLAMA_SERVER, supports_rpc=True)
ONE_GPU = samples.inventory(samples.gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 11.4))


def use_inventory(form, planner, inventory):
    planner.inventory = inventory
    form.set_inventory(inventory)


def named(form, name):
    return next(w for w in form.findChildren(object) if getattr(w, "accessibleName", str)() == name)


def button(form, text):
    QApplication.processEvents()  # a layout shows what was just put into it a moment later
    return next(b for b in form.findChildren(QPushButton) if b.isVisible() and b.text() == text)


def has_button(form, text):
    return any(b.isVisible() and b.text() == text for b in form.findChildren(QPushButton))


def deploy_button(form):
    return named(form, "Deploy")


def texts(widget):
    return [label.text() for label in widget.findChildren(QLabel) if label.isVisible() and label.text()]


def estimate(form):
    return texts(form.findChild(EstimatePanel))


def command(form):
    return form.findChild(CommandView).command()


def pick(combo, row):
    """As a person does it: the entry becomes the current one, and the box says that it was picked."""
    combo.setCurrentIndex(row)
    combo.activated.emit(row)


def wheel_down(field):
    """One notch of the wheel over a field."""
    centre = QPointF(field.rect().center())
    event = QWheelEvent(
        centre, field.mapToGlobal(centre), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(field, event)
