"""The engines that were got through Launchdeck: a folder each below the data folder, with a note of what is in it."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.text import Message
from launchdeck.engines.getting.offers import OfferKind
from launchdeck.files.looking import real
from launchdeck.files.reading import read_json
from launchdeck.files.removal import remove_file, remove_tree
from launchdeck.files.replacing import replace_text
from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

_NOTE = "engine.json"
_TITLE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class FetchedEngine:
    """`program` is the llama-server of an archive, the folder of an unpacked wheel, the Python of an environment."""

    folder: Path
    kind: OfferKind
    title: str
    program: Path


def engines_folder(paths: Paths) -> Path:
    return paths.data / "engines"


def fetched_engines(paths: Paths) -> tuple[FetchedEngine, ...]:
    """All that are complete, the newest first. A folder without its note is half made and counts for nothing."""
    notes = [(_mtime_s(note), note) for note in engines_folder(paths).glob(f"*/{_NOTE}")]
    found = (_read(note) for _, note in sorted(notes, reverse=True))
    return tuple(engine for engine in found if engine is not None)


def keep(engine: FetchedEngine) -> None:
    """Note that it is complete: from now on it is found. Raises OSError."""
    program = engine.program.relative_to(engine.folder).as_posix()
    replace_text(engine.folder / _NOTE, json.dumps({"kind": engine.kind, "title": engine.title, "program": program}))


def folder_of(engine: EngineInfo, paths: Paths) -> Path | None:
    """The folder of an engine that was got through Launchdeck, None for any other."""
    root = engines_folder(paths)
    if engine.path is None or root not in engine.path.parents:
        return None
    return root / engine.path.relative_to(root).parts[0]


def remove(folder: Path) -> None:
    """Take an engine away, or what there is of one. Belongs into a worker thread.

    Raises:
        LaunchdeckError: some of it cannot be deleted; it is found no more all the same.
    """
    try:
        remove_file(folder, _NOTE)
        remove_tree(real(folder.parent), folder.name)  # engines are large: the folder for them may be a link
    except OSError as error:
        raise LaunchdeckError.of(
            Cause.CONFLICT,
            Message("The engine in {path} could not be removed: {reason}.", path=str(folder), reason=error.strerror),
            Message("Delete the folder yourself."),
        ) from error


def size_bytes(folder: Path) -> int:
    """What it takes on the disk; links count for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it is gone meanwhile
                total += (Path(place) / name).lstat().st_size
    return total


def _read(note: Path) -> FetchedEngine | None:
    try:
        entries = read_json(note)
        title = entries["title"]
        if not isinstance(title, str) or not title.isprintable() or len(title) > _TITLE_LIMIT:
            raise ValueError("its title is none")  # noqa: TRY301 (told as all else)
        return FetchedEngine(
            folder=note.parent,
            kind=OfferKind(entries["kind"]),
            title=title,
            program=note.parent / _within(entries["program"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%r): the engine beside it is not used", note, error)
        return None


def _within(name: object) -> str:
    """Raises ValueError for a program outside the folder of its engine."""
    path = PurePosixPath(name) if isinstance(name, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or "\0" in str(name):
        raise ValueError(f"{str(name)[:100]!r} lies outside")
    return str(name)


def _mtime_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
