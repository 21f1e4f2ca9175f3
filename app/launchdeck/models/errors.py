"""The errors of models that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = Message("Download the file again.")


def unusable(message: Message, advice: Message) -> LaunchdeckError:
    """The error of a model that cannot be used."""
    return LaunchdeckError.of(Cause.MODEL_UNUSABLE, message, advice)


def silent(error: NoAnswerError) -> LaunchdeckError:
    """The error of a file or folder that does not answer."""
    return unusable(does_not_answer(error.place), Message("Check the disk or the network that it is on."))


def does_not_answer(place: str) -> Message:
    """What is told of a place that was given up."""
    return Message("{place} does not answer.", place=place)


def contradictory(path: Path) -> Message:
    """What is told of a model that can be read and not be planned with."""
    return Message("The header of {path} contradicts itself: no launch can be planned with it.", path=str(path))


def unreadable(path: Path, error: OSError) -> LaunchdeckError:
    """The error of a file that the system does not give."""
    if isinstance(error, NoAnswerError):
        return silent(error)
    if isinstance(error, FileNotFoundError):
        return unusable(
            Message("There is no file {path}.", path=str(path)), Message("Check the path, or choose another model.")
        )
    if isinstance(error, PermissionError):
        return unusable(
            Message("The file {path} may not be read.", path=str(path)), Message("Give your user the right to read it.")
        )
    return unusable(
        Message("The file {path} could not be read: {error}.", path=str(path), error=error.strerror or str(error)),
        Message("Check the disk that it is on."),
    )
