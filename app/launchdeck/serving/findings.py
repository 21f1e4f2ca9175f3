"""The log of one deployment on its way from bytes to findings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from launchdeck.engines.adapter import Findings
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.shim.log import read_log

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.engines.adapter import EngineAdapter

logger = logging.getLogger(__name__)

READ_BYTES: Final = 256 * 1024


class LogReader:
    """Fills the buffer for the window, and has the adapter read every line."""

    def __init__(self, adapter: EngineAdapter, buffer: LogBuffer) -> None:
        self._adapter = adapter
        self.buffer = buffer
        self.findings = Findings()
        self._has_failed = False

    def feed(self, data: bytes) -> None:
        """An adapter that stumbles over a line costs what the line would have told, and not the model."""
        for line in self.buffer.feed(data):
            try:
                self.findings = self._adapter.read_line(self.findings, line)
            except Exception:
                if not self._has_failed:
                    logger.exception("%s cannot read the line %.200r", self._adapter.backend, line)
                self._has_failed = True

    def end(self) -> None:
        """The engine is gone: its last words are a line as well, though it never ended."""
        if self.buffer.partial:
            self.feed(b"\n")

    def read_folder(self, folder: Path) -> None:
        """The log of an engine whose shim is gone. Touches the disk."""
        offset = 0
        while True:
            start, data = read_log(str(folder), offset, READ_BYTES)
            if not data:
                break
            if start > offset:
                self.buffer.note_dropped(start - offset)
            self.feed(data)
            offset = start + len(data)
        self.end()
