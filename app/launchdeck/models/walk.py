"""Going through folders for what may be a model; nothing is opened but manifests."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.files.apart import NoAnswerError, looking_at
from launchdeck.files.looking import real_name, status_of
from launchdeck.models import bounds, ollama
from launchdeck.models.projectors import is_projector_name, projector_of
from launchdeck.models.safetensors.safetensors import SUFFIX, is_safetensors_folder
from launchdeck.models.telling import tell_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger(__name__)

GGUF_SUFFIX = ".gguf"
_SUFFIXES = (GGUF_SUFFIX, SUFFIX, ".json")


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
    in ns, None where there was none to look into: as long as these times stay, the same would be found. `silent` are
    the places that do not answer.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [str(folder) for folder in folders]
        self._bounds = bounds.Bounds()
        self._seen: set[tuple[int, int]] = set()
        self.visited: dict[str, int | None] = {}
        self.silent: dict[str, None] = {}

    def __iter__(self) -> Iterator[Candidate]:
        """Candidates in and below the folders, by name.

        Links to folders are followed, but no folder is entered twice, and none above the link or of the kernel's. What
        is left out is told in the log, once.
        """
        for root in self._folders:
            yield from self._from(root)

    def _from(self, root: str) -> Iterator[Candidate]:
        waiting, entered = [root], 0
        while waiting:
            folder = waiting.pop()
            entered += 1
            if entered > bounds.FOLDER_LIMIT:
                tell_once(logger, "%s has more than %d folders: %s and others were left out", root, entered - 1, folder)
                return
            self.visited[folder] = None
            try:
                candidates, below = self._look_into(folder, is_root=folder is root)
            except NoAnswerError as error:
                self.silent[error.place] = None
            except FileNotFoundError:
                pass
            except OSError as error:
                tell_once(logger, "The folder %s was left out: %s", folder, error)
            except Exception:
                logger.exception("The folder %s was left out", folder)
            else:
                yield from candidates
                waiting += reversed(below)

    def _look_into(self, folder: str, *, is_root: bool) -> tuple[list[Candidate], list[str]]:
        """The candidates in this folder, and the folders in it.

        Only folders are asked for their identity; for files the listing itself is enough.
        """
        status = status_of(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return [], []
        if self._bounds.is_made_up(status):
            tell_once(logger, "The folder %s was left out: the system makes up what is in it", folder)
            return [], []
        if not is_root and os.path.islink(folder) and bounds.leads_up(folder):  # noqa: PTH114 (a string from scandir; a Path for each would be thrown away)
            tell_once(logger, "The link %s was left out: it leads to a folder above it", folder)
            return [], []
        self._seen.add(identity)
        self.visited[folder] = status.st_mtime_ns
        with os.scandir(folder) as listing:
            entries = sorted(filter(_matters, listing), key=lambda entry: entry.name)
        names = [entry.name for entry in entries]
        if ollama.is_store(names):
            return list(self._stored(Path(folder))), []
        candidates = list(self._files(folder, entries))
        if is_safetensors_folder(names):
            candidates.insert(0, Candidate(Path(folder), real_name(folder), is_folder=True))
        return candidates, [entry.path for entry in entries if self._is(entry, entry.is_dir)]

    def _stored(self, store: Path) -> Iterator[Candidate]:
        for folder in ollama.manifest_folders(store):
            self.visited[str(folder)] = changed_at_ns(folder)
        for model in ollama.read_store(store):
            yield Candidate(model.path, real_name(model.path), name=model.name, projector=model.projector)

    def _files(self, folder: str, entries: list[os.DirEntry[str]]) -> Iterator[Candidate]:
        """The GGUF files of a folder, with the projectors that lie beside them."""
        real_folder = real_name(folder)
        projectors = [entry.name for entry in entries if is_projector_name(entry.name)]
        for entry in entries:
            if not entry.name.lower().endswith(GGUF_SUFFIX) or not self._is(entry, entry.is_file):
                continue
            real = real_name(entry.path) if entry.is_symlink() else os.path.join(real_folder, entry.name)  # noqa: PTH118
            beside = None if entry.name in projectors else projector_of(entry.name, projectors)
            yield Candidate(Path(entry.path), real, projector=Path(folder, beside) if beside else None)

    def _is(self, entry: os.DirEntry[str], check: Callable[[], bool]) -> bool:
        """A link is asked for what it leads to, which may not answer."""
        try:
            if entry.is_symlink():
                looking_at(entry.path)
            return check()
        except NoAnswerError as error:
            self.silent[error.place] = None
            self.visited[entry.path] = None
        except OSError:  # a link that leads round in a circle
            pass
        return False


def changed_at_ns(path: Path | str) -> int | None:
    """When this was last changed, None if it is not there, or does not answer."""
    try:
        return status_of(path).st_mtime_ns
    except OSError:
        return None


def _matters(entry: os.DirEntry[str]) -> bool:
    """Whether a model could be made of it, or lie below it."""
    if entry.name.lower().endswith(_SUFFIXES) or entry.is_symlink():
        return True
    try:
        return entry.is_dir()
    except OSError:  # gone meanwhile, or damaged on the disk
        return False
