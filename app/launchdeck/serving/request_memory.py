"""Requests to fall back on: the last one of each model, and the ones that the user has given a name."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.files.json_file import JsonFile
from launchdeck.serving.codec import decoded, to_json
from launchdeck.serving.first_version import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

MOST_MODELS = 200
LONGEST_NAME = 60
_VERSION = 2
"""Requests name GPUs by UUID; those of the first version did by their places, and stood at the top of the file."""
_PARTS = ("last", "presets")


@dataclass(frozen=True, slots=True)
class _Memory:
    """`last` by the model's path, the latest at the end; `presets` by their names."""

    last: Mapping[str, ModelLoadRequest]
    presets: Mapping[str, ModelLoadRequest]


class RequestMemory:
    """Kept in one JSON file, which is replaced as a whole: a crash leaves the old or the new one."""

    def __init__(self, file: Path) -> None:
        self._file = JsonFile(file, _VERSION)
        self._memory = self._read()

    @property
    def problem(self) -> Message | None:
        """What there is to tell of the file, None if nothing."""
        return self._file.problem

    @property
    def preset_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._memory.presets, key=str.casefold))

    def preset(self, name: str) -> ModelLoadRequest:
        """Raises KeyError."""
        return self._memory.presets[name]

    def last(self, model: Path) -> ModelLoadRequest | None:
        """How this model was deployed the last time."""
        return self._memory.last.get(str(model))

    def remember(self, request: ModelLoadRequest) -> None:
        """The request with which a model was just deployed. That it cannot be written costs no launch."""
        key = str(request.model_path)
        last = {path: kept for path, kept in self._memory.last.items() if path != key} | {key: request}
        try:
            self._write(replace(self._memory, last=dict(list(last.items())[-MOST_MODELS:])))
        except LaunchdeckError as error:
            logger.warning("%s", error)

    def save_preset(self, name: str, request: ModelLoadRequest) -> None:
        """Give a request a name; one of that name is replaced.

        Raises:
            LaunchdeckError: the name is empty or too long, or the file cannot be written.
        """
        if not 1 <= len(name) <= LONGEST_NAME:
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST, Message("A preset needs a name of 1 to {limit} characters.", limit=LONGEST_NAME)
            )
        self._write(replace(self._memory, presets={**self._memory.presets, name: request}))

    def delete_preset(self, name: str) -> None:
        """Raises LaunchdeckError if the file cannot be written."""
        kept = {key: request for key, request in self._memory.presets.items() if key != name}
        self._write(replace(self._memory, presets=kept))

    @property
    def unsettled(self) -> tuple[ModelLoadRequest, ...]:
        """What an earlier version wrote, which named GPUs by their places."""
        is_old = self._file.found_version < _VERSION
        return tuple(request for part in self._parts() for request in part.values()) if is_old else ()

    def settle(self, found: Callable[[ModelLoadRequest], ModelLoadRequest]) -> None:
        """Write what an earlier version wrote as this one does, with the GPUs that `found` tells.

        Where it cannot be written, that is found out again at the next start.
        """
        if self._file.found_version >= _VERSION:
            return
        self._memory = _Memory(*({name: found(request) for name, request in part.items()} for part in self._parts()))
        try:
            self._write(self._memory)
        except LaunchdeckError as error:
            logger.warning("%s", error)

    def _parts(self) -> tuple[Mapping[str, ModelLoadRequest], ...]:
        return self._memory.last, self._memory.presets

    def _read(self) -> _Memory:
        document = self._file.read()
        held = document.get("requests", {}) if self._file.found_version == _VERSION else document
        parts = [held.get(part, {}) for part in _PARTS] if isinstance(held, dict) else []
        if not parts or not all(isinstance(part, dict) for part in parts):
            self._file.set_aside("it holds no requests")
            return _Memory({}, {})
        memory = _Memory(*(decoded(ModelLoadRequest, part, request_of) for part in parts))
        is_more = held.keys() - set(_PARTS) or (held is not document and document.keys() - {"requests"})
        if len(memory.last) + len(memory.presets) < sum(map(len, parts)) or is_more:
            self._file.keep_before_writing()
        return memory

    def _write(self, memory: _Memory) -> None:
        document = dict(zip(_PARTS, map(_encoded, (memory.last, memory.presets)), strict=True))
        try:
            self._file.write({"requests": document})
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.DISK_FULL,
                Message("Presets could not be saved to {path}: {reason}.", path=self._file.path, reason=error.strerror),
                Message("Free some space or allow writing there, then save again."),
            ) from error
        self._memory = memory


def _encoded(requests: Mapping[str, ModelLoadRequest]) -> dict[str, Any]:
    return {key: to_json(request) for key, request in requests.items()}
