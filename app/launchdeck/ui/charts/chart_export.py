"""Saving what the charts show, as a table or a picture, in a file of the user's choice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QBuffer, QObject
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.ui.charts.table import csv_text
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.ui.charts.charts import Charts
    from launchdeck.ui.kit.notice import Notice


class ChartExport(QObject):
    """Saves what is visible when it is asked to; `spawn` runs work beside the window and tells its failures there."""

    def __init__(self, charts: Charts, notice: Notice, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        super().__init__(charts)
        self._charts = charts
        self._notice = notice
        self._spawn = spawn

    def ask_csv(self) -> None:
        """Ask where to, then save the table."""
        columns = self._charts.visible_columns()
        self._ask(tr("Save the charts as a table"), "csv", lambda: csv_text(columns).encode())

    def ask_png(self) -> None:
        """Ask where to, then save the picture; it is taken before the question covers the charts."""
        picture = self._charts.grab().toImage()
        self._ask(tr("Save the charts as a picture"), "png", lambda: _png(picture))

    def _ask(self, title: str, suffix: str, encode: Callable[[], bytes]) -> None:
        dialog = QFileDialog(self._charts.window(), title)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(suffix)
        dialog.setNameFilter(f"*.{suffix}")
        dialog.selectFile(time.strftime(f"launchdeck-%Y%m%d-%H%M%S.{suffix}"))
        dialog.fileSelected.connect(lambda name: self._spawn(self._save(Path(name), encode)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    async def _save(self, file: Path, encode: Callable[[], bytes]) -> None:
        try:
            await asyncio.to_thread(lambda: file.write_bytes(encode()))
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST,
                Message("The charts could not be saved as {file}: {reason}.", file=file, reason=error.strerror),
                Message("Name a file in a folder that can be written to."),
            ) from error
        self._notice.show_text(tr("The charts are saved as {file}.", file=file))


def _png(picture: QImage) -> bytes:
    buffer = QBuffer()
    picture.save(buffer, "PNG")
    return bytes(buffer.data().data())
