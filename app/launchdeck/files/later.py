"""Writing what can be found out again without waiting for the disk: whoever has news of it may be the GUI thread."""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from launchdeck.files.json_file import JsonFile

PATIENCE_S: Final = 1.0
"""At the end of the process, for what is still to be written: a disk may never answer."""


class LaterFile:
    """A JsonFile that has been read, and from now on is written in a daemon thread. Any thread may write."""

    def __init__(self, file: JsonFile) -> None:
        self._file = file
        self._latest: dict[str, Any] | None = None
        self._is_writing = False

    def write(self, document: dict[str, Any]) -> None:
        """Have this written soon: of several, the last. The document is copied now, and what stands in it is to stay as
        it is.
        """
        with _changed:
            self._latest = dict(document)
            if self._is_writing:
                return
            self._is_writing = True
            _writing.add(self)
        threading.Thread(target=self._write, name=f"writing {self._file.path.name}", daemon=True).start()

    def _write(self) -> None:
        while True:
            with _changed:
                document, self._latest = self._latest, None
                if document is None:
                    self._is_writing = False
                    _writing.discard(self)
                    _changed.notify_all()
                    return
            self._file.write_if_possible(document)


def finish_writing(patience_s: float = PATIENCE_S) -> bool:
    """Wait until all is written; False: it is not, and the patience is at its end."""
    until_s = time.monotonic() + patience_s
    with _changed:
        while _writing and (left_s := until_s - time.monotonic()) > 0:
            _changed.wait(left_s)
        return not _writing


_changed: Final = threading.Condition()
_writing: Final[set[LaterFile]] = set()
atexit.register(finish_writing)
