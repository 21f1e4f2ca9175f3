"""Lists that open above the window have no background but their own."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QComboBox

from launchdeck.ui.kit import theme
from launchdeck.ui.kit.trailing_combo import TrailingDelegate
from qt.form_driver import WAIT_MS, named

NAMES = ("Model", "GPU", "Context, in tokens", "Engine", "Preset", "Split over several devices")


def contrast(one: QColor, other: QColor) -> float:
    """As the WCAG have it: 1 to 21."""

    def luminance(colour: QColor) -> float:
        parts = (colour.redF(), colour.greenF(), colour.blueF())
        red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def assert_readable(popup, tokens: theme.Tokens) -> None:
    """It covers what is below it in the panel's colour, and something in it stands out from that."""
    QApplication.processEvents()
    picture = popup.grab().toImage()
    ratio = picture.devicePixelRatio()
    pixels = {
        picture.pixel(x, y)
        for x in range(4, picture.width() - 4)
        for y in range(4, min(picture.height() - 4, int(60 * ratio)))
    }
    panel = QColor(tokens.panel)
    assert panel.rgb() in pixels or QColor(tokens.track).rgb() in pixels
    assert all(QColor.fromRgba(pixel).alpha() == 255 for pixel in pixels)
    assert max(contrast(QColor.fromRgb(pixel), panel) for pixel in pixels) > 4.5


@pytest.mark.parametrize("tokens", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
def test_the_list_of_found_models_can_be_read(qtbot, qapp, form, tokens):
    theme.apply(qapp, tokens.name)
    combo = named(form, "Model")
    combo.lineEdit().selectAll()
    qtbot.keyClicks(combo.lineEdit(), "i")
    found = combo.completer().popup()
    qtbot.waitUntil(found.isVisible, timeout=WAIT_MS)
    assert_readable(found, tokens)
    assert isinstance(found.itemDelegate(), TrailingDelegate), "with the sizes"
    assert not found.verticalScrollBar().isVisible(), "there is room for all of them"
    found.hide()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
def test_the_lists_of_the_form_can_be_read(qtbot, qapp, form, tokens, name):
    theme.apply(qapp, tokens.name)
    combo: QComboBox = named(form, name)
    if not combo.count():
        combo.addItem("one")
    combo.showPopup()
    qtbot.waitUntil(combo.view().isVisible, timeout=WAIT_MS)
    assert_readable(combo.view(), tokens)
    combo.hidePopup()


def test_while_one_searches_the_size_is_nobodys(qtbot, form):
    combo = named(form, "Model")
    assert combo.trailing()
    qtbot.keyClicks(combo.lineEdit(), "t")
    assert combo.trailing() == ""
    combo.completer().popup().hide()
    combo.lineEdit().editingFinished.emit()
    assert combo.trailing()
