"""settings.toml: read with every value checked, written so that either the old or the new file is there."""

from __future__ import annotations

import dataclasses
import logging
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.replacing import replace_text, replacing
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

VERSION: Final = 1
_VERSION_NAME: Final = "version"


class SettingsStore:
    """The settings and their file. `problem` says what was wrong with the file when it was read, None if nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem: Message | None = None
        self.settings = self._load()

    def save(self, settings: Settings) -> None:
        """Make these the settings, now and at the next start.

        Raises:
            LaunchdeckError: a value is out of its limits, or the file cannot be written; nothing has changed then.
        """
        checked = from_mapping(dataclasses.asdict(settings))
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
            text = self._path.read_bytes()
        except FileNotFoundError:
            return Settings()
        except OSError as error:
            self.problem = Message(
                "The settings in {path} cannot be read ({reason}); the defaults are used.",
                path=self._path,
                reason=error.strerror,
            )
            logger.warning("%s", self.problem)
            return Settings()
        try:
            values = tomllib.loads(text.decode())
            version = int(values.pop(_VERSION_NAME, VERSION))
            settings = from_mapping(values)
        except (ValueError, TypeError, LaunchdeckError) as error:  # TOML and UTF-8 errors are ValueErrors
            return self._set_aside(str(error))
        if version != VERSION:
            self._keep_other_version(version, text)
        return settings

    def _set_aside(self, reason: str) -> Settings:
        kept = self._path.with_name(self._path.name + ".corrupt")
        try:
            self._path.replace(kept)
        except OSError as error:
            logger.warning("%s could not be renamed: %s", self._path, error)
            kept = self._path
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


def from_mapping(values: Mapping[str, Any]) -> Settings:
    """Settings with these values, the rest by default; names that no setting has are logged and left out.

    Raises:
        LaunchdeckError: a value has the wrong type or is out of its limits.
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for name in values.keys() - fields.keys():
        logger.warning("settings: there is no setting %r; it is ignored", name)
    checked = {name: _check(fields[name], value) for name, value in values.items() if name in fields}
    settings = Settings(**checked)
    if settings.first_port > settings.last_port:
        raise _refusal("first_port", settings.first_port, f"at most last_port ({settings.last_port})")
    return settings


def _check(field: dataclasses.Field[Any], value: Any) -> Any:
    wanted = type(field.default)
    if wanted is tuple:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise _refusal(field.name, value, "a list of texts")
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise _refusal(field.name, value, {bool: "true or false", int: "a whole number"}.get(wanted, wanted.__name__))
    limits = field.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise _refusal(field.name, value, " or ".join(limits["choices"]))
    if limits["low"] is not None and not limits["low"] <= value <= limits["high"]:
        raise _refusal(field.name, value, f"{limits['low']} to {limits['high']}")
    return value


def _refusal(name: str, value: object, wanted: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.BAD_REQUEST,
        Message("The setting {name} is {value}, but has to be {wanted}.", name=name, value=repr(value), wanted=wanted),
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
