"""Describing all models in folders, again and again: what has not changed is not read twice."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.model import ModelFormat, ModelInfo
from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError, looking_at
from launchdeck.files.looking import is_there, status_of
from launchdeck.models.describe import describe, describe_broken, describe_unread, is_companion, speakable
from launchdeck.models.errors import does_not_answer
from launchdeck.models.gguf.gguf import read_header, split_name
from launchdeck.models.safetensors.describe import describe_folder, describe_safetensors, is_component
from launchdeck.models.safetensors.safetensors import read_safetensors
from launchdeck.models.walk import Candidate, Walk, changed_at_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """When the files were last changed; `model` is None for what belongs to a model and is none."""

    stamps: tuple[tuple[Path, int | None], ...]
    model: ModelInfo | None


class Scanner:
    """One library. Belongs to one thread at a time, apart from those that are given up."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}
        self._places: dict[str, int | None] = {}
        self._silent: dict[str, None] = {}

    @property
    def silent(self) -> tuple[str, ...]:
        """The places that did not answer in the latest scan."""
        return tuple(self._silent)

    def scan(self, folders: Iterable[Path], *, extra: Iterable[Path] = ()) -> Iterator[ModelInfo]:
        """All models in and below these folders, and the files named in `extra`, as they are found.

        A split model comes once, by its first shard, one in safetensors format by its folder, and what is reached by
        several paths, links of both kinds included, once. Files that only belong to a model (projectors, adapters) are
        left out. A broken file comes with its `problem`, a folder that cannot be read is logged.
        """
        walk = Walk(folders)
        self._places, self._silent = walk.visited, walk.silent
        fresh: dict[Path, _Known] = {}
        seen: set[str | tuple[int, int]] = set()
        for candidate in chain((Candidate(path, str(path)) for path in extra), walk):
            try:
                model = self._model(candidate, fresh, seen)
            except NoAnswerError as error:
                walk.silent[error.place] = None
                model = _left_out(candidate, does_not_answer(error.place))
            except Exception:
                logger.exception("%s is not understood", candidate.path)
                model = _left_out(
                    candidate, Message("{path} is not understood; the log says why.", path=candidate.path)
                )
            if model is None:
                continue
            model = speakable(model)
            if model.problem is not None:  # a file that is still being written changes no folder
                self._places |= {str(file): changed_at_ns(file) for file in model.files}
            yield replace(model, name=candidate.name or model.name, projector=candidate.projector)
        self._known = fresh

    def _model(
        self, candidate: Candidate, fresh: dict[Path, _Known], seen: set[str | tuple[int, int]]
    ) -> ModelInfo | None:
        """What this candidate is; None for what is no model, or was found before."""
        looking_at(candidate.path)
        if _is_later_shard(candidate.path):
            return None
        found = _describe(candidate, self._known.get(candidate.path))
        # Where the scan is given up and another begins, nothing is read twice.
        fresh[candidate.path] = self._known[candidate.path] = found
        model = found.model
        if model is None:
            return None
        identity = _identity(str(model.files[0]) if candidate.is_folder and model.files else candidate.real)
        if identity in seen:
            return None
        seen.add(identity)
        return model

    def has_changed(self) -> bool:
        """Whether another scan would find something else: a model came or went, or a broken one was mended."""
        return any(changed_at_ns(place) != before for place, before in self._places.items())


def scan(folders: Iterable[Path], *, extra: Iterable[Path] = ()) -> Iterator[ModelInfo]:
    """As `Scanner.scan`, once."""
    return Scanner().scan(folders, extra=extra)


def _left_out(candidate: Candidate, problem: Message) -> ModelInfo:
    model_format = ModelFormat.SAFETENSORS if candidate.is_folder else ModelFormat.GGUF
    return describe_unread(candidate.path, problem, model_format)


def _identity(path: str) -> str | tuple[int, int]:
    """The same for all names of one file, whatever links lead to it; where there is none, its name."""
    try:
        status = status_of(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _describe(candidate: Candidate, known: _Known | None) -> _Known:
    """From what is known, if no file of it has changed, else from the files' headers."""
    if known is not None and known.stamps == _stamps(file for file, _ in known.stamps):
        return known
    model = _folder(candidate.path) if candidate.is_folder else _file(candidate.path)
    files = (candidate.path,) if model is None else (model.path, *model.files)
    return _Known(_stamps(files), model)


def _file(path: Path) -> ModelInfo | None:
    try:
        header = read_header(path)
    except LaunchdeckError as error:
        return describe_broken(path, error)
    return None if is_companion(header) else describe(header)


def _folder(path: Path) -> ModelInfo | None:
    try:
        header = read_safetensors(path)
    except LaunchdeckError:
        return describe_folder(path)
    return None if is_component(header) else describe_safetensors(header)


def _is_later_shard(path: Path) -> bool:
    """Whether the model is told of by its first shard; where that is missing, every other one tells so."""
    shard = split_name(path.name)
    if shard is None or shard[1] <= 1:
        return False
    prefix, _, count = shard
    return is_there(path.with_name(f"{prefix}-00001-of-{count:05}.gguf"))


def _stamps(files: Iterable[Path]) -> tuple[tuple[Path, int | None], ...]:
    return tuple((file, changed_at_ns(file)) for file in files)
