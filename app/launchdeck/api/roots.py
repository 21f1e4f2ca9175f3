"""Which files may be loaded over HTTP: models inside the library's folders, wherever links lead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError, call_apart, looking_at
from launchdeck.files.looking import is_file, is_folder, is_there, real
from launchdeck.models.errors import silent
from launchdeck.models.library import PATIENCE_S, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

CheckPath = Callable[[Path, "Settings", "Paths"], None]

_ROUNDS: Final = 8
_CONFIG: Final = "config.json"  # makes a folder a model


def check_model_path(path: Path, settings: Settings, paths: Paths) -> None:
    """Refuse what is not a regular file in the library, or a model's folder of such. Touches the disk.

    What lies outside is refused in the same words whether it exists or not.

    Raises:
        LaunchdeckError: the path may not be used, or leads to no file.
    """
    check_full_path(path, settings, paths)
    try:
        call_apart(lambda: _check(path, settings, paths), PATIENCE_S, rounds=_ROUNDS)
    except NoAnswerError as error:
        raise silent(error) from error


def check_full_path(path: Path, _settings: Settings, _paths: Paths) -> None:
    """Refuse what is no full path. Wherever it leads, and what lies there, is for whoever reads it.

    Raises:
        LaunchdeckError: it is none.
    """
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("{path} is not an absolute path without '..'.", path=path),
            Message("Name the model by its full path."),
        )


def _check(path: Path, settings: Settings, paths: Paths) -> None:
    folders, files = places(settings, paths)
    roots = list(_resolved((*folders, *(file.parent for file in files))))
    looking_at(path)
    if not _is_inside(path, roots):
        raise _outside(path)
    if not is_there(path):
        raise LaunchdeckError.of(
            Cause.NOT_FOUND, Message("There is no file {path}.", path=path), Message("Look for another model.")
        )
    parts = [part for part in _parts(path) if part is path or not is_folder(part)]
    if not all(_is_inside(part, roots) for part in parts):
        raise _outside(path)
    if not all(map(is_file, parts)):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST, Message("{path} is no model's file.", path=path), Message("Look for another model.")
        )


def _outside(path: Path) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.OUTSIDE_LIBRARY,
        Message("{path} lies outside the folders in which models are looked for.", path=path),
        Message("Add its folder in the settings, or put the model into one that stands there."),
    )


def _resolved(folders: Iterable[Path]) -> Iterator[Path]:
    """Where they really are; those that do not answer hold nothing that could be loaded."""
    for folder in folders:
        with suppress(NoAnswerError):
            looking_at(folder)
            yield real(folder)


def _parts(path: Path) -> list[Path]:
    """What makes up the model: the files of its folder, or the file itself."""
    try:
        return sorted(path.iterdir()) if is_file(path / _CONFIG) else [path]
    except OSError:
        return [path]  # a folder, and no file


def _is_inside(path: Path, roots: list[Path]) -> bool:
    place = real(path)
    return any(place.is_relative_to(root) for root in roots)


def check_rpc_workers(workers: tuple[str, ...], settings: Settings) -> None:
    """Refuse to connect to machines that nobody named in the settings. Raises LaunchdeckError."""
    for worker in workers:
        if worker not in settings.rpc_workers:
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST,
                Message("{worker} is none of the RPC workers in the settings.", worker=worker),
                Message("Add it in the settings."),
            )
