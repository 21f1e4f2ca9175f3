"""Requests to fall back on: the last one of each model, and the ones that the user has given a name."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.files.replacing import replace_text
from launchdeck.serving.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

MOST_MODELS = 200
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class _Memory:
    """`last` by the model's path, the latest at the end; `presets` by their names."""

    last: Mapping[str, ModelLoadRequest]
    presets: Mapping[str, ModelLoadRequest]


class RequestMemory:
    """Kept in one JSON file, which is replaced as a whole: a crash leaves the old or the new one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._memory = _read(file)

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

    def _write(self, memory: _Memory) -> None:
        document = {"last": _encoded(memory.last), "presets": _encoded(memory.presets)}
        try:
            replace_text(self._file, json.dumps(document, ensure_ascii=False))
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.DISK_FULL,
                Message("Presets could not be saved to {path}: {reason}.", path=self._file, reason=error.strerror),
                Message("Free some space or allow writing there, then save again."),
            ) from error
        self._memory = memory


def _encoded(requests: Mapping[str, ModelLoadRequest]) -> dict[str, Any]:
    return {key: to_json(request) for key, request in requests.items()}


def _read(file: Path) -> _Memory:
    """What is broken as a whole is kept aside; a request that cannot be read is left out, and said."""
    try:
        document = json.loads(file.read_bytes())
        return _Memory(_decoded(document["last"]), _decoded(document["presets"]))
    except FileNotFoundError:
        return _Memory({}, {})
    except OSError as error:
        logger.warning("%s cannot be read (%s): no request is remembered", file, error)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kept = file.with_suffix(".corrupt")
        file.replace(kept)
        logger.warning("%s cannot be used (%s); it is kept as %s", file, error, kept.name)
    return _Memory({}, {})


def _decoded(requests: Mapping[str, Any]) -> dict[str, ModelLoadRequest]:
    found: dict[str, ModelLoadRequest] = {}
    for key, value in requests.items():
        try:
            found[key] = from_json(ModelLoadRequest, value)
        except ValueError as error:
            logger.warning("The remembered request %r cannot be read: %s", key, error)
    return found
