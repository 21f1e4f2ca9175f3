"""Going through folders for what may be a model; nothing is opened."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.models import ollama
from launchdeck.models.projectors import is_projector_name, projector_of
from launchdeck.models.safetensors import is_safetensors_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_log = logging.getLogger(__name__)

GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Candidate:
    """`path` is a GGUF file or a folder in safetensors format; `real` is where links lead.

    `name` is set where the place knows a better one than the file's.
    """

    path: Path
    real: str
    is_folder: bool = False
    name: str | None = None
    projector: Path | None = None


class Walk:
    """One way through the folders. `visited` has every folder that was looked into, with the time of its last change
    in ns, None where there was none to look into: as long as these times stay, the same would be found.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [str(folder) for folder in folders]
        self.visited: dict[str, int | None] = {}

    def __iter__(self) -> Iterator[Candidate]:
        """Candidates in and below the folders, by name.

        Links to folders are followed, but no folder is entered twice. One that cannot be read is logged.
        Only folders are asked for their identity; for files the listing itself is enough.
        """
        seen: set[tuple[int, int]] = set()
        waiting = self._folders[::-1]
        while waiting:
            folder = waiting.pop()
            self.visited[folder] = None
            try:
                status = os.stat(folder)  # noqa: PTH116 (a string from scandir; a Path for each would be thrown away)
                identity = (status.st_dev, status.st_ino)
                if identity in seen:
                    continue
                seen.add(identity)
                self.visited[folder] = status.st_mtime_ns
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.warning("The folder %s was left out: %s", folder, error)
                continue
            names = [entry.name for entry in entries]
            if ollama.is_store(names):
                yield from self._stored(Path(folder))
                continue
            if is_safetensors_folder(names):
                yield Candidate(Path(folder), os.path.realpath(folder), is_folder=True)
            yield from _files(folder, entries)
            waiting.extend(entry.path for entry in reversed(entries) if _is_folder(entry))

    def _stored(self, store: Path) -> Iterator[Candidate]:
        for folder in ollama.manifest_folders(store):
            self.visited[str(folder)] = changed_at_ns(folder)
        for model in ollama.read_store(store):
            yield Candidate(model.path, os.path.realpath(model.path), name=model.name, projector=model.projector)


def changed_at_ns(path: Path | str) -> int | None:
    """When this was last changed, None if it is not there."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 (as above)
    except OSError:
        return None


def _files(folder: str, entries: list[os.DirEntry[str]]) -> Iterator[Candidate]:
    """The GGUF files of a folder, with the projectors that lie beside them."""
    real_folder = os.path.realpath(folder)
    projectors = [entry.name for entry in entries if is_projector_name(entry.name)]
    for entry in entries:
        if not entry.name.lower().endswith(GGUF_SUFFIX) or not _exists(entry.is_file):
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real_folder, entry.name)  # noqa: PTH118
        beside = None if entry.name in projectors else projector_of(entry.name, projectors)
        yield Candidate(Path(entry.path), real, projector=Path(folder, beside) if beside else None)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return _exists(entry.is_dir)


def _exists(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link that leads round in a circle
        return False
