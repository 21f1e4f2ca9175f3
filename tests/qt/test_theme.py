from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF, QPalette
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QWidget

from launchdeck.ui.kit import fonts, theme
from launchdeck.ui.kit.model_colors import keep_model_colors, model_color
from launchdeck.ui.kit.theme import DARK, LIGHT, Tokens

THEMES = pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=lambda tokens: tokens.name)

# Machado, Oliveira, Fernandes 2009, severity 1: normal, red-blind, green-blind, blue-blind eyes; linear RGB.
EYES = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1, 1.08883])


def linear(color: str) -> np.ndarray:
    srgb = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    relative = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first: str, second: str) -> float:
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    dark, light = sorted(float((TO_XYZ @ linear(color))[1]) for color in (first, second))
    return (light + 0.05) / (dark + 0.05)


@THEMES
def test_text_can_be_read(tokens: Tokens):
    for ground in (tokens.panel, tokens.background, tokens.field):
        assert contrast(tokens.text, ground) >= 7
        assert contrast(tokens.muted, ground) >= 4.5
        assert contrast(tokens.bad, ground) >= 4.5
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5


@THEMES
@pytest.mark.parametrize("group", ["curves", "models"])
def test_eight_colours_stay_apart_for_all_eyes(tokens: Tokens, group: str):
    colors: tuple[str, ...] = getattr(tokens, group)
    assert len(set(colors)) == 8
    for eye, (one, other) in itertools.product(EYES, itertools.combinations(colors, 2)):
        assert np.linalg.norm(lab(eye @ linear(one)) - lab(eye @ linear(other))) >= 14, (one, other)


@THEMES
def test_curves_stand_out_from_the_panel(tokens: Tokens):
    assert min(contrast(color, tokens.panel) for color in tokens.curves) >= 3


@THEMES
def test_style_sheet_is_complete_and_understood(qapp: QApplication, qtlog, tokens: Tokens):
    sheet = theme.style_sheet(tokens)
    assert "$" not in re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    theme.apply(qapp, "light" if tokens is DARK else "dark")
    theme.apply(qapp, tokens.name)
    QWidget().ensurePolished()
    assert [record.message for record in qtlog.records if "stylesheet" in record.message.lower()] == []


@THEMES
def test_every_picture_the_style_sheet_names_exists(tokens: Tokens):
    paths = re.findall(r'url\("([^"]+)"\)', theme.style_sheet(tokens))
    assert paths
    assert [path for path in paths if not Path(path).is_file()] == []


def test_applying_changes_tokens_and_palette(qapp: QApplication):
    theme.apply(qapp, "light")
    assert theme.tokens() is LIGHT
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == LIGHT.background
    theme.apply(qapp, "dark")
    assert theme.tokens() is DARK
    assert qapp.palette().color(QPalette.ColorRole.Window).name() == DARK.background


def test_auto_takes_the_systems_scheme_and_follows_it(qapp: QApplication):
    theme.apply(qapp, "auto")
    for scheme, tokens in ((Qt.ColorScheme.Dark, DARK), (Qt.ColorScheme.Light, LIGHT)):
        qapp.styleHints().colorSchemeChanged.emit(scheme)
        assert theme.tokens() is tokens


def test_a_chosen_theme_does_not_follow_the_system(qapp: QApplication):
    theme.apply(qapp, "dark")
    qapp.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Light)
    assert theme.tokens() is DARK


@pytest.mark.parametrize("bold", [False, True])
def test_digits_are_equally_wide(bold: bool):
    metrics = QFontMetricsF(fonts.small_font(bold=bold))
    assert len({metrics.horizontalAdvance(digit * 4) for digit in "0123456789"}) == 1


def test_styled_labels_keep_the_tabular_figures(qtbot):
    label = QLabel("1")
    label.setProperty("role", "small")
    qtbot.addWidget(label)
    label.ensurePolished()
    metrics = QFontMetricsF(label.font())
    assert label.font().pixelSize() == fonts.SMALL_PX
    assert metrics.horizontalAdvance("1111") == metrics.horizontalAdvance("0000")


def test_the_focused_field_has_a_border_in_the_accent_colour(qtbot):
    window = QWidget()
    first, second = QLineEdit(window), QLineEdit(window)
    second.move(0, 60)
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    borders = [field.grab().toImage().pixelColor(field.width() // 2, 0).name() for field in (first, second)]
    assert borders == [DARK.accent, DARK.line]


def test_a_deployment_keeps_its_colour_and_gives_it_back():
    keep_model_colors(())
    colors = {name: model_color(name) for name in "abcdefgh"}
    assert len(set(colors.values())) == 8
    assert model_color("c") == colors["c"]
    keep_model_colors(set("abdefgh"))
    assert model_color("new") == colors["c"]
    keep_model_colors(())
