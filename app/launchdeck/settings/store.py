"""settings.toml: read with every value checked, written so that either the old or the new file is there."""

from __future__ import annotations

import dataclasses
import logging
import math
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.aside import set_aside
from launchdeck.files.reading import read_bytes
from launchdeck.files.replacing import replace_text, replacing
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

VERSION: Final = 1
LIMIT_BYTES: Final = 256 * 1024
"""A thousand model folders with long names have less."""
_VERSION_NAME: Final = "version"
_VERSIONS: Final = range(1, 10_000)
_MOST_TEXTS: Final = 1000
_TEXT_LIMIT: Final = 4096  # as the system's for a path
_MOST_DOTS: Final = 64
_TOO_LARGE: Final = 2**53
_MOST_NAMES_TOLD: Final = 10
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class SettingsStore:
    """The settings and their file. `problem` says what was wrong with the file when it was read, None if nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_unread = False
        self.problem: Message | None = None
        self.settings = self._load()

    def save(self, settings: Settings) -> None:
        """Make these the settings, now and at the next start.

        Raises:
            LaunchdeckError: a value is out of its limits, or the file cannot be written, or what is there could not be
                read and cannot be kept either; nothing has changed then.
        """
        checked = from_mapping(dataclasses.asdict(settings))
        if self._is_unread:
            self._is_unread = set_aside(self._path) == self._path
        if self._is_unread:
            raise LaunchdeckError.of(
                Cause.CONFLICT,
                Message(
                    "The settings could not be saved to {path}: what is there could not be read, and would be lost.",
                    path=self._path,
                ),
                Message("Move it away, then save again."),
            )
        try:
            replace_text(self._path, _to_toml(checked))
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.DISK_FULL,
                Message("The settings could not be saved to {path}: {reason}.", path=self._path, reason=error.strerror),
                Message("Free some space or allow writing there, then save again."),
            ) from error
        self.settings = checked

    def _load(self) -> Settings:
        try:
            text = read_bytes(self._path, LIMIT_BYTES)
        except FileNotFoundError:
            return Settings()
        except OSError as error:
            self._is_unread = True
            self.problem = Message(
                "The settings in {path} cannot be read ({reason}); the defaults are used.",
                path=self._path,
                reason=error.strerror,
            )
            logger.warning("%s", self.problem)
            return Settings()
        except ValueError as error:
            return self._set_aside(str(error))
        try:
            values = _parse(text)
            version = _version(values.pop(_VERSION_NAME, VERSION))
            settings = from_mapping(values)
        except (ValueError, LaunchdeckError) as error:  # TOML and UTF-8 errors are ValueErrors
            return self._set_aside(str(error))
        if version != VERSION:
            self._keep_other_version(version, text)
        return settings

    def _set_aside(self, reason: str) -> Settings:
        kept = set_aside(self._path)
        self._is_unread = kept == self._path
        self.problem = Message(
            "The settings could not be used ({reason}); they are kept as {kept} and the defaults are used.",
            reason=reason,
            kept=kept,
        )
        logger.warning("%s", self.problem)
        return Settings()

    def _keep_other_version(self, version: int, text: bytes) -> None:
        """What another version of Launchdeck wrote may hold settings that this one would leave out when it saves."""
        kept = self._path.with_name(f"{self._path.name}.version-{version}")
        try:
            with replacing(kept) as file:
                file.write(text)
        except OSError as error:
            logger.warning("%s could not be written: %s", kept, error)
            return
        self.problem = Message(
            "Another version of Launchdeck wrote the settings; what this one does not know is kept in {kept}.",
            kept=kept,
        )
        logger.warning("%s", self.problem)


def _parse(text: bytes) -> dict[str, Any]:
    """Raises ValueError for whatever is no TOML, or would take long to read."""
    lines = text.decode()
    if any(_dots_of_names(line) > _MOST_DOTS for line in lines.splitlines()):  # which takes time by their square
        raise ValueError("a name in it has too many parts")
    try:
        return tomllib.loads(lines)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _dots_of_names(line: str) -> int:
    """How many dots there are outside of texts and comments."""
    if line.count(".") <= _MOST_DOTS:
        return 0
    dots, quote, is_escaped = 0, "", False
    for character in line:
        if is_escaped:
            is_escaped = False
        elif quote:
            is_escaped = character == "\\" and quote == '"'
            quote = "" if character == quote else quote
        elif character == "#":
            break
        elif character in {'"', "'"}:
            quote = character
        else:
            dots += character == "."
    return dots


def _version(value: object) -> int:
    """Raises ValueError."""
    if type(value) is not int or value not in _VERSIONS:
        raise ValueError(f"its version is {_SHORT.repr(value)}")
    return value


def from_mapping(values: Mapping[str, Any]) -> Settings:
    """Settings with these values, the rest by default; names that no setting has are logged and left out.

    Raises:
        LaunchdeckError: a value has the wrong type or is out of its limits.
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    strange = sorted(values.keys() - fields.keys())
    for name in strange[:_MOST_NAMES_TOLD]:
        logger.warning("settings: there is no setting %s; it is ignored", _SHORT.repr(name))
    if len(strange) > _MOST_NAMES_TOLD:
        logger.warning("settings: and %d more are ignored", len(strange) - _MOST_NAMES_TOLD)
    checked = {name: _check(fields[name], value) for name, value in values.items() if name in fields}
    settings = Settings(**checked)
    if settings.first_port > settings.last_port:
        raise _refusal("first_port", settings.first_port, f"at most last_port ({settings.last_port})")
    return settings


def _check(field: dataclasses.Field[Any], value: Any) -> Any:
    wanted = type(field.default)
    if wanted is tuple:
        if isinstance(value, list | tuple) and len(value) <= _MOST_TEXTS and all(map(_is_text, value)):
            return tuple(value)
        raise _refusal(field.name, value, "a list of texts")
    if wanted is float and type(value) is int and abs(value) < _TOO_LARGE:
        value = float(value)
    if wanted is float and (type(value) is not float or not math.isfinite(value)):
        raise _refusal(field.name, value, "a number")
    if wanted is str and not _is_text(value):
        raise _refusal(field.name, value, "a text")
    if type(value) is not wanted:
        raise _refusal(field.name, value, {bool: "true or false", int: "a whole number"}.get(wanted, wanted.__name__))
    limits = field.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise _refusal(field.name, value, " or ".join(limits["choices"]))
    if limits["low"] is not None and not limits["low"] <= value <= limits["high"]:
        raise _refusal(field.name, value, f"{limits['low']} to {limits['high']}")
    return value


def _is_text(value: object) -> bool:
    """One that can be a path, an argument or an address."""
    return isinstance(value, str) and len(value) <= _TEXT_LIMIT and "\0" not in value


def _refusal(name: str, value: object, wanted: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.BAD_REQUEST,
        Message(
            "The setting {name} is {value}, but has to be {wanted}.", name=name, value=_SHORT.repr(value), wanted=wanted
        ),
    )


def _to_toml(settings: Settings) -> str:
    import tomlkit  # noqa: PLC0415 (only saving needs it; start-up does not pay for it)

    document = tomlkit.document()
    document.add(_VERSION_NAME, tomlkit.item(VERSION))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        document.add(tomlkit.comment(str(field.metadata["meaning"])))
        document.add(field.name, tomlkit.item(list(value) if isinstance(value, tuple) else value))
    return tomlkit.dumps(document)
