"""One application at a time on these folders: the one that holds the lock, which is free when it dies, however that is.

The lock lies in the state folder: the runtime folder may vanish when the user logs out while the application lives.

In it stands who holds it, as "window 4711" or "serve 4711", followed by at least one newline where the holder tells
when it has come to the front: it changes the number of newlines then.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.lock_file import hold
from launchdeck.files.looking import real
from launchdeck.files.reading import read_bytes

if TYPE_CHECKING:
    from launchdeck.settings.paths import Paths

WINDOW, SERVE = "window", "serve"
_LIMIT_BYTES: Final = 256
_MOST_ANSWERS: Final = 64


class Instance:
    """The place of the one application, whoever has it."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.state / "instance.lock"
        self._file: int | None = None
        self._name = b""
        self._answers = 1

    def acquire(self, kind: str) -> bool:
        """Be the one until this process ends; False: another process is.

        Raises:
            LaunchdeckError: that cannot be known, because the lock file cannot be used.
        """
        try:
            self._file = hold(self._path)
            if self._file is not None:
                self._name = f"{kind} {os.getpid()}".encode()
                self._write(self._answers)
        except ImportError:  # Windows
            return True
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.CONFLICT,
                Message(
                    "Whether Launchdeck runs already cannot be known: {path} cannot be used ({reason}).",
                    path=self._path,
                    reason=error.strerror or str(error),
                ),
                Message("Remove what is there or allow writing there, then start again."),
            ) from error
        return self._file is not None

    def release(self) -> None:
        """Let another one be it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def answer(self) -> None:
        """Let whoever asked know that it was heard."""
        if self._file is not None:
            self._answers = self._answers % _MOST_ANSWERS + 1
            self._write(self._answers)

    def holder(self) -> tuple[str, int] | None:
        """What the one is and its pid, while `acquire` says that there is one; None: it is just taking its place, or
        what stands there is not to be believed: no process of that number has the file open.
        """
        try:
            kind, pid = self._read().decode("ascii").split()
            number = int(pid)
        except (OSError, ValueError):
            return None
        return (kind, number) if kind in {WINDOW, SERVE} and self._may_hold(number) else None

    def answers(self) -> int:
        """Changes whenever the holder answers; 0: it is of a version that does not."""
        try:
            text = self._read()
        except (OSError, ValueError):
            return 0
        return len(text) - len(text.rstrip(b"\n"))

    def held_for_s(self) -> float:
        """How long ago the holder took its place, or answered."""
        try:
            return time.time() - self._path.stat().st_mtime
        except OSError:
            return 0.0

    def _read(self) -> bytes:
        return read_bytes(self._path, _LIMIT_BYTES)

    def _write(self, answers: int) -> None:
        if self._file is not None:
            text = self._name + b"\n" * answers
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))

    def _may_hold(self, pid: int) -> bool:
        """A signal to a process that has got the number of another one could end it. Of another user's process only
        that user can tell.
        """
        if pid <= 1:
            return False
        handles = f"/proc/{pid}/fd"
        try:
            opened = os.listdir(handles)  # noqa: PTH208 (the names are all that is wanted)
        except FileNotFoundError:
            return not os.path.isdir("/proc/self/fd")  # noqa: PTH112 (a system without /proc)
        except PermissionError:
            return True
        ours = str(real(self._path))
        for handle in opened:
            with contextlib.suppress(OSError):
                if os.readlink(f"{handles}/{handle}") == ours:  # noqa: PTH115 (it touches no disk)
                    return True
        return False


def does_not_answer(pid: int) -> LaunchdeckError:
    """The one application is there, and hangs, or is stopped."""
    return LaunchdeckError.of(
        Cause.CONFLICT,
        Message("Launchdeck runs already, as process {pid}, and does not answer.", pid=pid),
        Message("If it still does not in a moment, end it ('kill -9 {pid}') and start again.", pid=pid),
    )
