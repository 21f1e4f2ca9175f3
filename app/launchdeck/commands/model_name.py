"""The model that a command line means: by its place, or by the name that `launchdeck models` shows."""

from __future__ import annotations

from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError, call_apart, looking_at
from launchdeck.files.looking import is_there, real
from launchdeck.models.errors import silent
from launchdeck.models.library import PATIENCE_S, known_models
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings


def model_path(named: Path, settings: Settings, paths: Paths) -> Path:
    """Where it lies. Only for a bare name that is no file here is the library looked through.

    Raises:
        LaunchdeckError: no model has this name, or several have; or what lies there does not answer.
    """
    if len(named.parts) != 1 or _is_there(named):
        return _full(named)
    wanted = str(named).casefold()
    found = [
        model.path
        for model in known_models(settings, paths)
        if wanted in {model.name.casefold(), model.path.name.casefold()}
    ]
    if not found:
        raise LaunchdeckError.of(
            Cause.MODEL_UNUSABLE,
            Message("There is no file and no known model {name}.", name=named),
            Message("'launchdeck models' lists the models that are found."),
        )
    if len(found) > 1:
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("Several models are named {name}: {paths}.", name=named, paths=", ".join(map(str, found))),
            Message("Name the file with its folder."),
        )
    return found[0]


def _full(named: Path) -> Path:
    """Without steps up, which may lead elsewhere than they look like where there are links. Raises LaunchdeckError."""
    if ".." not in named.absolute().parts:
        return named.absolute()
    try:
        return call_apart(lambda: _real(named), PATIENCE_S)
    except NoAnswerError as error:
        raise silent(error) from error


def _real(named: Path) -> Path:
    looking_at(named)
    return real(named)


def _is_there(named: Path) -> bool:
    try:
        return call_apart(lambda: is_there(named), PATIENCE_S)
    except NoAnswerError as error:
        raise silent(error) from error
