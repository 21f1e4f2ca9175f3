"""What a shim writes down about its engine, so that it is known whatever dies. Imported by the shim."""

from __future__ import annotations

import json
import os

from launchdeck.files.removal import remove_file
from launchdeck.serving.shim.mark import new_value
from launchdeck.serving.shim.processes import boot_id, read_stat

RECORD_VERSION = 2
"""Raised when an older application would misunderstand a record; it leaves newer ones alone. Older ones are always
read: what is added to a record or to a plan needs a default. 2: plans name GPUs by UUID (before: by their places).
"""
RECORD_NAME = "record.json"
SOCKET_SUFFIX = ".sock"

TYPE_CHECKING = False  # `typing` is not worth its import time here
if TYPE_CHECKING:
    from typing import Any


def make_folder(path: str) -> None:
    """Where only this user may look, its parents as well; os.makedirs leaves those to the umask. Raises OSError.

    No other thread may be at work: the umask is the process's.
    """
    mask = os.umask(0o077)
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(mask)


def create_file(folder: str, name: str) -> int:
    """A new file, open for writing. What lies in its place is removed, and never written to: a link may lead to a file
    of somebody else, and a pipe would hold us up until somebody reads it. Raises OSError.
    """
    remove_file(folder, name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(os.path.join(folder, name), flags, 0o600)


class Record:
    """`facts` is the JSON document. It is replaced as a whole, and only by the shim while that lives.

    facts: version, id, boot_id, created_at_s, socket, plan (the application's, kept as it is), note (what the
    application wants to find again), mark (the random value that all it starts carries; a secret of this user, which is
    told to nobody but the application), shim and engine (processes), tree (processes), started_at_s, ended_at_s
    (Unix seconds), stop_asked, exit_code (negative: a signal), start_error, log_size.
    """

    def __init__(self, folder: str, spec: dict[str, Any]) -> None:
        self._path = os.path.join(folder, RECORD_NAME)
        self._unsaved = True
        self._saved_as = (0, 0, 0)
        own = read_stat(os.getpid())
        self.facts: dict[str, Any] = {
            "version": RECORD_VERSION,
            "id": spec["id"],
            "boot_id": boot_id(),
            "created_at_s": spec["created_at_s"],
            "mark": new_value(),
            "socket": spec["socket"],
            "shim": None if own is None else own.process,
            "engine": None,
            "tree": [],
            "started_at_s": None,
            "ended_at_s": None,
            "stop_asked": False,
            "exit_code": None,
            "start_error": None,
            "log_size": 0,
            "note": spec.get("note", {}),
            "plan": spec["plan"],
        }

    def update(self, **facts: Any) -> None:
        """Change and save. A full disk leaves the old record in place, and `retry` writes the new one later."""
        self.facts.update(facts)
        self._unsaved = True
        self.retry()

    def retry(self) -> bool:
        """Whether everything is on disk now."""
        if self._unsaved:
            try:
                self.save()
            except OSError:
                return False
        return True

    def heal(self) -> None:
        """Write it again where it has vanished, or is not what was written: without it nobody would find the model."""
        try:
            stat = os.stat(self._path)
            is_ours = (stat.st_ino, stat.st_size, stat.st_mtime_ns) == self._saved_as
        except OSError:
            is_ours = False
        if not is_ours:
            self._unsaved = True
            try:
                make_folder(os.path.dirname(self._path))
            except OSError:
                return  # tried again at the next tick

    def is_forgotten(self) -> bool:
        """Whether its folder is gone: after the end that is the application's doing, and nobody will read it."""
        try:
            os.lstat(os.path.dirname(self._path))
        except FileNotFoundError:
            return True
        except OSError:  # its disk is away
            return False
        return False

    def save(self) -> None:
        """Raises OSError."""
        temporary = self._path + ".new"
        file = create_file(os.path.dirname(temporary), os.path.basename(temporary))
        try:
            content = json.dumps(self.facts).encode()
            while content:
                content = content[os.write(file, content) :]
        finally:
            os.close(file)
        stat = os.stat(temporary)
        os.replace(temporary, self._path)  # a folder in its place stays there, and is an OSError
        self._saved_as = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        self._unsaved = False

    def status(self) -> dict[str, Any]:
        """What a client is told: all but the plan, which it has or finds on disk."""
        return {name: value for name, value in self.facts.items() if name != "plan"}
