"""The application's own drawings (resources/icons), in the colour of the text around them."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from launchdeck.resources import resource
from launchdeck.ui.kit import theme

_SIZE_PX = 16
_PIXEL_RATIOS = (1, 2, 3)
_TRAY_SIZES_PX = (22, 24, 32, 48, 64)


def app_icon() -> QIcon:
    """The application's icon."""
    return QIcon(str(resource("icons/launchdeck.svg")))


def badged_app_icon(badge: str | None) -> QIcon:
    """The application's icon with `resources/icons/<badge>.svg` over its lower right corner."""
    made = QIcon()
    for size_px in _TRAY_SIZES_PX:
        pixmap = app_icon().pixmap(QSize(size_px, size_px), 1.0)
        if badge is not None:
            painter = QPainter(pixmap)
            corner = QRectF(
                pixmap.width() * 0.45, pixmap.height() * 0.45, pixmap.width() * 0.55, pixmap.height() * 0.55
            )
            QSvgRenderer(str(resource(f"icons/{badge}.svg"))).render(painter, corner)
            painter.end()
        made.addPixmap(pixmap)
    return made


def icon(name: str, color: str | None = None) -> QIcon:
    """`resources/icons/<name>.svg` with its "currentColor" in `color`; the muted text's colour if None."""
    drawing = resource(f"icons/{name}.svg").read_text(encoding="utf-8")
    drawing = drawing.replace("currentColor", color or theme.tokens().muted)
    renderer = QSvgRenderer(QByteArray(drawing.encode()))
    made = QIcon()
    for ratio in _PIXEL_RATIOS:
        made.addPixmap(_render(renderer, ratio))
    return made


def _render(renderer: QSvgRenderer, pixel_ratio: int) -> QPixmap:
    pixmap = QPixmap(QSize(_SIZE_PX, _SIZE_PX) * pixel_ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(pixmap.rect()))
    painter.end()
    pixmap.setDevicePixelRatio(pixel_ratio)
    return pixmap
