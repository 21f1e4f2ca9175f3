"""One JSON object of ours in a file: what is broken costs what stood in it, and nothing else."""

from __future__ import annotations

import errno
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from launchdeck.domain.text import Message
from launchdeck.files.aside import keep_copy, set_aside
from launchdeck.files.reading import read_json
from launchdeck.files.replacing import replace_text

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_VERSION = "version"


class JsonFile:
    """Belongs to one thread at a time. What could not be read, say because a disk was away, is never written over: the
    next `write` sets the file aside first. `problem` is what there was to tell of it, None if nothing; the log has it.

    `version` says what its contents mean. It is raised when an older application would misunderstand them, and stands
    in the file from the second on. What an older version wrote is read (`found_version`), and stays as NAME.v1 when it
    is written anew; what a newer one wrote is not, and stays as NAME.v3, say.
    """

    def __init__(self, path: Path, version: int = 1) -> None:
        self.path = path
        self.problem: Message | None = None
        self.found_version = version
        self._version = version
        self._is_unread = False

    def read(self) -> dict[str, Any]:
        """The object in the file, an empty one where there is none. A broken file is set aside, and told."""
        try:
            document = read_json(self.path)
            if not isinstance(document, dict):
                raise ValueError("it holds no object")  # noqa: TRY004, TRY301 (what a file holds; told as all else)
            self.found_version = self._version_of(document)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._is_unread = True
            reason = error.strerror or str(error)
            self._tell(
                Message("{path} cannot be read ({reason}): nothing in it is known.", path=self.path, reason=reason)
            )
            return {}
        except ValueError as error:
            self.set_aside(error)
            return {}
        if self.found_version > self._version:
            self._tell(
                Message("A newer version of Launchdeck wrote {path}: what stands in it is not used.", path=self.path)
            )
            return {}
        return document

    def _version_of(self, document: dict[str, Any]) -> int:
        """Takes it out of the document. Raises ValueError."""
        if self._version == 1 or type(document.get(_VERSION)) is dict:  # it may be the name of an entry of the first
            return 1
        version = document.pop(_VERSION, 1)
        if type(version) is not int or version < 1:
            raise ValueError(f"its version is {version!r:.100}")
        return version

    def write(self, document: dict[str, Any]) -> None:
        """Replace the file as a whole. Raises OSError; then the old file is as it was."""
        if self._version > 1:
            document = {_VERSION: self._version, **document}
        text = json.dumps(document, allow_nan=False)  # in ASCII: a name may hold bytes that are no text
        if self._is_unread and os.path.lexists(self.path):
            self.set_aside("not all that stands in it is known")
            if self._is_unread:
                raise OSError(errno.EEXIST, "what is there now cannot be read, and cannot be renamed", str(self.path))
        self._is_unread = False
        self._keep_other_version()
        replace_text(self.path, text)
        self.found_version = self._version

    def _keep_other_version(self) -> None:
        """Raises OSError."""
        if self.found_version == self._version or not os.path.lexists(self.path):
            return
        try:
            kept = keep_copy(self.path, f".v{self.found_version}")
        except ValueError as error:
            raise OSError(errno.EINVAL, f"it cannot be kept: {error}", str(self.path)) from error
        logger.info("What version %d wrote is kept as %s", self.found_version, kept)

    def keep_before_writing(self) -> None:
        """Have the file set aside by the next `write`: something in it could not be used, the rest is."""
        self._is_unread = True
        self._tell(
            Message("Not all that stands in {path} can be used; it is kept when it is written again.", path=self.path)
        )

    def set_aside(self, reason: object) -> None:
        """Keep a file of no use out of the way, and tell so."""
        kept = set_aside(self.path)
        self._is_unread = kept == self.path
        self._tell(
            Message(
                "{path} cannot be used ({reason}); it is kept as {kept}.",
                path=self.path,
                reason=str(reason),
                kept=kept.name,
            )
        )

    def write_if_possible(self, document: dict[str, Any]) -> None:
        """The same for what can be found out again: that it cannot be written is logged, and costs nothing else."""
        try:
            self.write(document)
        except OSError as error:
            logger.warning("%s cannot be written (%s): what stands in it is found out again", self.path, error)

    def _tell(self, problem: Message) -> None:
        self.problem = problem
        logger.warning("%s", problem)
