"""Colours as tokens, and the one place where they become Qt's palette and style sheet."""

from __future__ import annotations

from dataclasses import dataclass, fields
from string import Template
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from launchdeck.resources import resource
from launchdeck.ui.kit import fonts

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme, as "#rrggbb".

    `curves` belong to GPUs, by index, and `models` to deployments (see `model_colors`). Within each the eight stay
    apart for red-, green- and blue-blind eyes, and stand out from `panel`.
    """

    name: str
    background: str
    panel: str
    field: str
    line: str
    text: str
    muted: str
    faint: str
    track: str
    accent: str
    accent_hover: str
    on_accent: str
    ok: str
    warn: str
    bad: str
    curves: tuple[str, ...]
    models: tuple[str, ...]

    def curve(self, index: int) -> str:
        """The colour of the GPU at `index`."""
        return self.curves[index % len(self.curves)]


DARK = Tokens(
    name="dark",
    background="#16181d",
    panel="#1d2026",
    field="#16181d",
    line="#323743",
    text="#e8eaee",
    muted="#9aa1ae",
    faint="#626976",
    track="#2c313b",
    accent="#6ea8fe",
    accent_hover="#8bbaff",
    on_accent="#0d1420",
    ok="#5cc28a",
    warn="#e6b455",
    bad="#ef7b7b",
    curves=("#5b9bff", "#f2a33c", "#35c2a5", "#df75c0", "#eee570", "#bfe4ff", "#d9553b", "#6f60d3"),
    models=("#5b9bff", "#6f60d3", "#35c2a5", "#f2a33c", "#df75c0", "#eee570", "#d9553b", "#bfe4ff"),
)

LIGHT = Tokens(
    name="light",
    background="#f4f5f7",
    panel="#ffffff",
    field="#ffffff",
    line="#dfe2e8",
    text="#1b1e24",
    muted="#646c7a",
    faint="#a3a9b4",
    track="#e8eaef",
    accent="#2f6fde",
    accent_hover="#2560c8",
    on_accent="#ffffff",
    ok="#1f8a52",
    warn="#a86c00",
    bad="#c83d3d",
    curves=("#2f6fde", "#c9720a", "#318772", "#b84191", "#837f37", "#3d9dce", "#962a10", "#4736b7"),
    models=("#2f6fde", "#4736b7", "#318772", "#c9720a", "#b84191", "#837f37", "#962a10", "#3d9dce"),
)

ARGUMENTS = ("-style", "Fusion")

_tokens = DARK
_choice = ""


def tokens() -> Tokens:
    """The tokens of the running application. Ask when painting: they change with the theme."""
    return _tokens


def prepare(app: QApplication, choice: str) -> None:
    """As `apply`, but for the style sheet: `apply` again when the widgets are there. While there is a style sheet,
    every widget is polished anew whenever it or a widget around it gets a parent: making a window costs twice as much.

    The application has to be made with `ARGUMENTS`: `setStyle` returns a QStyle, and to make that class known to Python
    takes a twentieth of a bare window's start.
    """
    _choose(app, choice, _prepare)


def apply(app: QApplication, choice: str) -> None:
    """Dress the application in "dark", "light", or "auto": as the system is, now and whenever it changes."""
    if not _choice:
        app.setStyle("Fusion")
    _choose(app, choice, _dress)


def _choose(app: QApplication, choice: str, dress: Callable[[QApplication, Tokens], None]) -> None:
    global _choice  # noqa: PLW0603 (a process has one application)
    hints = app.styleHints()
    if not _choice:
        fonts.load()
        app.setFont(fonts.text_font())
        hints.colorSchemeChanged.connect(lambda scheme: _follow(app, scheme))
    _choice = choice
    if choice == "auto":
        hints.unsetColorScheme()
        dress(app, DARK if hints.colorScheme() == Qt.ColorScheme.Dark else LIGHT)
    else:
        hints.setColorScheme(Qt.ColorScheme.Dark if choice == "dark" else Qt.ColorScheme.Light)
        dress(app, DARK if choice == "dark" else LIGHT)


def style_sheet(theme: Tokens) -> str:
    """resources/style/app.qss with the colours of `theme` in it."""
    values = {field.name: getattr(theme, field.name) for field in fields(theme)}
    sizes = {"text_px": fonts.TEXT_PX, "small_px": fonts.SMALL_PX, "icons": resource("icons").as_posix()}
    return Template(resource("style/app.qss").read_text(encoding="utf-8")).substitute(values, **sizes)


def _follow(app: QApplication, scheme: Qt.ColorScheme) -> None:
    if _choice == "auto":
        _dress(app, DARK if scheme == Qt.ColorScheme.Dark else LIGHT)


def _prepare(app: QApplication, theme: Tokens) -> None:
    global _tokens  # noqa: PLW0603
    _tokens = theme
    app.setPalette(_palette(theme))


def _dress(app: QApplication, theme: Tokens) -> None:
    """Palette first: the style sheet's change is what makes every widget look again."""
    sheet = style_sheet(theme)
    if app.styleSheet() != sheet:
        _prepare(app, theme)
        app.setStyleSheet(sheet)


def _palette(theme: Tokens) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for colour, roles in (
        (theme.background, (role.Window,)),
        (theme.field, (role.Base,)),
        (theme.panel, (role.Button, role.AlternateBase, role.ToolTipBase)),
        (theme.text, (role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText)),
        (theme.muted, (role.PlaceholderText,)),
        (theme.line, (role.Mid, role.Midlight, role.Dark)),
        (theme.accent, (role.Highlight, role.Accent, role.Link, role.LinkVisited)),
        (theme.on_accent, (role.HighlightedText,)),
    ):
        for each in roles:
            palette.setColor(each, QColor(colour))
    for each in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(theme.faint))
    return palette
