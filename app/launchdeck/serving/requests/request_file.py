"""Requests in one JSON file, which is replaced as a whole: a crash leaves the old or the new one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.files.json_file import JsonFile
from launchdeck.serving.records.codec import decoded, to_json
from launchdeck.serving.records.first_version import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

_VERSION: Final = 2
"""Requests name GPUs by UUID; those of the first version did by their places, and stood at the top of the file."""
_REQUESTS: Final = "requests"
_UNSETTLED: Final = "unsettled"
_ONLY: Final = ""
"""The part of a file that has no parts."""

Requests = dict[str, ModelLoadRequest]


class RequestFile:
    """Requests by their names, in the order in which they were written; in parts, where `parts` names some.

    A file of the first version is unsettled: which GPUs its places mean is not found out yet. Written meanwhile, say
    because a preset is saved, it stays that, and says so.
    """

    def __init__(self, path: Path, parts: Sequence[str] = (_ONLY,)) -> None:
        self.path = path
        self._file = JsonFile(path, _VERSION)
        self._names = tuple(parts)
        self._is_unsettled = False
        self._parts = self._read()

    @property
    def problem(self) -> Message | None:
        """What there is to tell of the file, None if nothing."""
        return self._file.problem

    @property
    def unsettled(self) -> tuple[ModelLoadRequest, ...]:
        """Those that may name GPUs by the places that they had for an earlier version."""
        requests = (request for part in self._parts.values() for request in part.values())
        return tuple(requests) if self._is_unsettled else ()

    def part(self, name: str = _ONLY) -> Mapping[str, ModelLoadRequest]:
        """Give the requests of one part by their names."""
        return self._parts[name]

    def replace(self, requests: Requests, part: str = _ONLY) -> None:
        """Write this part anew. Raises OSError; nothing has changed then."""
        parts = {**self._parts, part: requests}
        self._write(parts)
        self._parts = parts

    def settle(self, found: Callable[[ModelLoadRequest], ModelLoadRequest]) -> None:
        """Write what an earlier version wrote as this one does, with the GPUs that `found` tells.

        Where it cannot be written, that is found out again at the next start.
        """
        if not self._is_unsettled:
            return
        self._is_unsettled = False
        self._parts = {
            name: {key: found(request) for key, request in part.items()} for name, part in self._parts.items()
        }
        try:
            self._write(self._parts)
        except OSError as error:
            logger.warning("%s could not be saved (%s): what is meant in it is found out again", self.path, error)

    def _read(self) -> dict[str, Requests]:
        document = self._file.read()
        is_old = self._file.found_version < _VERSION
        held = document if is_old else document.get(_REQUESTS, {})
        parts = self._parts_in(held)
        if not all(isinstance(part, dict) for part in parts.values()):
            self._file.set_aside("it holds no requests")
            return {name: {} for name in self._names}
        self._is_unsettled = is_old or document.get(_UNSETTLED) is True
        requests = {name: decoded(ModelLoadRequest, part, request_of) for name, part in parts.items()}
        is_more = self._names != (_ONLY,) and held.keys() - set(self._names)
        is_more = is_more or (not is_old and document.keys() - {_REQUESTS, _UNSETTLED})
        if is_more or sum(map(len, requests.values())) < sum(map(len, parts.values())):
            self._file.keep_before_writing()
        return requests

    def _parts_in(self, held: Any) -> dict[str, Any]:
        if self._names == (_ONLY,):
            return {_ONLY: held}
        return {name: held.get(name, {}) if isinstance(held, dict) else None for name in self._names}

    def _write(self, parts: Mapping[str, Requests]) -> None:
        """Raises OSError."""
        written: dict[str, Any] = {
            name: {key: to_json(request) for key, request in part.items()} for name, part in parts.items()
        }
        marks = {_UNSETTLED: True} if self._is_unsettled else {}
        self._file.write({**marks, _REQUESTS: written.get(_ONLY, written)})


def not_saved(message: Message) -> LaunchdeckError:
    """Make the error of a file of requests that cannot be written."""
    return LaunchdeckError.of(
        Cause.DISK_FULL, message, Message("Free some space or allow writing there, then save again.")
    )
