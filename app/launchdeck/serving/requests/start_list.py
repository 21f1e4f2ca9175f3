"""Deployments marked "start with Launchdeck": which they are, and how they are started again, one after the other."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from launchdeck.domain.text import Message
from launchdeck.serving.requests.request_file import RequestFile, not_saved

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.request import ModelLoadRequest

logger = logging.getLogger(__name__)


class StartList:
    """The requests by the names of their deployments, in the order in which they were marked. Kept in one file."""

    def __init__(self, file: Path) -> None:
        self.file = RequestFile(file)

    @property
    def requests(self) -> tuple[ModelLoadRequest, ...]:
        """Each with the name of its deployment."""
        return tuple(self.file.part().values())

    def __contains__(self, model_id: object) -> bool:
        return model_id in self.file.part()

    def mark(self, model_id: str, request: ModelLoadRequest, *, marked: bool) -> None:
        """Raises LaunchdeckError if the file cannot be written; nothing has changed then."""
        requests = {name: kept for name, kept in self.file.part().items() if name != model_id or marked}
        if marked:
            requests[model_id] = replace(request, model_id=model_id)
        try:
            self.file.replace(requests)
        except OSError as error:
            raise not_saved(
                Message(
                    "What starts with Launchdeck could not be saved to {path}: {reason}.",
                    path=self.file.path,
                    reason=error.strerror,
                )
            ) from error
