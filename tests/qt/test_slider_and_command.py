from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from fakes import samples
from launchdeck.domain.gpu import GpuType
from launchdeck.ui.deploy.command_view import CommandText
from launchdeck.ui.deploy.layer_slider import LayerSlider
from qt.form_driver import named, use_inventory

WAIT_MS = 5000


@pytest.fixture
def slider(qtbot):
    """0 to 40 over 400 px: ten pixels a layer."""
    slider = LayerSlider()
    qtbot.addWidget(slider)
    slider.set_layer_count(40)
    slider.resize(416, slider.sizeHint().height())
    slider.show()
    return slider


def press(slider, x):
    QTest.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(x, 8))
    return slider.value()


class TestDetents:
    def test_the_mouse_snaps_to_both_ends_and_to_the_mark(self, slider):
        slider.set_layer_count(400)
        slider.set_mark(100)
        assert [press(slider, x) for x in (8 + 3, 8 + 100 + 3, 8 + 100 - 3, 8 + 400 - 3)] == [0, 100, 100, 400]
        assert [press(slider, x) for x in (8 + 6, 8 + 100 + 6, 8 + 400 - 6)] == [6, 106, 394]

    def test_every_number_can_be_had_by_the_keys(self, slider, qtbot):
        slider.set_mark(20)
        slider.setValue(20)
        qtbot.keyClick(slider, Qt.Key.Key_Right)
        assert slider.value() == 21

    def test_the_mark_is_drawn_and_told(self, slider):
        plain = slider.grab().toImage()
        slider.set_mark(20)
        assert slider.grab().toImage() != plain
        assert slider.accessibleDescription() == "At most 20 layers fit"
        slider.set_mark(None)
        assert slider.grab().toImage() == plain
        assert slider.toolTip() == ""

    def test_in_the_form_it_stands_where_auto_would_be(self, qtbot, form, planner):
        slider = named(form, "Layers on the GPU")
        use_inventory(form, planner, samples.inventory(samples.gpu(0, "RTX 3060", GpuType.NVIDIA, 12, 7)))
        automatic = slider.value()
        qtbot.keyClick(slider, Qt.Key.Key_End)
        assert slider.value() > automatic == slider.mark()


class TestCommandTooltips:
    def test_the_mouse_over_an_argument_tells_what_it_does(self, qtbot, form):
        text = form.findChild(CommandText)
        cursor = text.textCursor()
        cursor.setPosition(text.toPlainText().index("--ctx-size") + 3)
        place = text.cursorRect(cursor).center()
        QApplication.sendEvent(
            text.viewport(), QHelpEvent(QHelpEvent.Type.ToolTip, place, text.viewport().mapToGlobal(place))
        )
        qtbot.waitUntil(lambda: "The context in tokens" in QToolTip.text(), timeout=WAIT_MS)

    def test_so_does_the_text_cursor(self, qtbot, form):
        text = form.findChild(CommandText)
        form.activateWindow()
        text.setFocus()
        cursor = text.textCursor()
        cursor.setPosition(text.toPlainText().index("--parallel") - 1)
        text.setTextCursor(cursor)
        qtbot.keyClick(text, Qt.Key.Key_Right)
        assert text.accessibleDescription().startswith("--parallel: Slots")
