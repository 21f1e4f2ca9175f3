"""Requests to fall back on: the last one of each model, and the ones that the user has given a name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.serving.requests.request_file import RequestFile, not_saved

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.serving.requests.request_file import Requests

logger = logging.getLogger(__name__)

MOST_MODELS = 200
LONGEST_NAME = 60
LAST: Final = "last"
"""By the model's path, the latest at the end."""
PRESETS: Final = "presets"


class RequestMemory:
    """Kept in one file (`file`)."""

    def __init__(self, file: Path) -> None:
        self.file = RequestFile(file, (LAST, PRESETS))

    @property
    def preset_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.file.part(PRESETS), key=str.casefold))

    def preset(self, name: str) -> ModelLoadRequest:
        """Raises KeyError."""
        return self.file.part(PRESETS)[name]

    def last(self, model: Path) -> ModelLoadRequest | None:
        """How this model was deployed the last time."""
        return self.file.part(LAST).get(str(model))

    def remember(self, request: ModelLoadRequest) -> None:
        """The request with which a model was just deployed. That it cannot be written costs no launch."""
        key = str(request.model_path)
        last = {path: kept for path, kept in self.file.part(LAST).items() if path != key} | {key: request}
        try:
            self._write(LAST, dict(list(last.items())[-MOST_MODELS:]))
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
        self._write(PRESETS, {**self.file.part(PRESETS), name: request})

    def delete_preset(self, name: str) -> None:
        """Raises LaunchdeckError if the file cannot be written."""
        self._write(PRESETS, {key: request for key, request in self.file.part(PRESETS).items() if key != name})

    def _write(self, part: str, requests: Requests) -> None:
        try:
            self.file.replace(requests, part)
        except OSError as error:
            message = Message(
                "Presets could not be saved to {path}: {reason}.", path=self.file.path, reason=error.strerror
            )
            raise not_saved(message) from error
