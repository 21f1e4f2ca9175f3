"""Reading a JSON document that somebody may have edited: every value is checked, every complaint names its place."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeVar

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

_TOO_LARGE = 2**53
_LONGEST_TEXT: Final = 4096
_LONGEST_LIST: Final = 4096
"""More GPUs, cores or processes than a machine has that anybody looks at in a window."""

_Choice = TypeVar("_Choice", bound=StrEnum)


class JsonObject:
    """An object of the document. `path` says where it is; a value that is null or left out is None.

    All methods raise LaunchdeckError where the document holds something else than is read.
    """

    def __init__(self, value: Any, path: str = "") -> None:
        self._path = path
        if not isinstance(value, dict):
            raise unusable(path or "document", Message("an object"))
        self._values: dict[str, Any] = value

    def path(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
            return value
        raise unusable(self.path(key), Message("a text"))

    def number(self, key: str) -> float | None:
        value = self._values.get(key)
        return None if value is None else _number(value, self.path(key))

    def integer(self, key: str, *, below_zero: bool = False) -> int | None:
        """`below_zero`: it may be."""
        value = self._values.get(key)
        return None if value is None else round(_number(value, self.path(key), below_zero=below_zero))

    def integers(self, key: str) -> list[int]:
        """Left out: none."""
        return [round(_number(value, f"{self.path(key)}[{index}]")) for index, value in enumerate(self._list(key))]

    def truth(self, key: str, *, default: bool = False) -> bool:
        """Left out: `default`."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        raise unusable(self.path(key), Message("true or false"))

    def choice(self, key: str, kind: type[_Choice], default: _Choice | None = None) -> _Choice:
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if value in tuple(kind):
            return kind(value)
        raise unusable(self.path(key), Message("one of {choices}", choices=", ".join(kind)))

    def child(self, key: str) -> JsonObject | None:
        value = self._values.get(key)
        return None if value is None else JsonObject(value, self.path(key))

    def children(self, key: str) -> list[JsonObject]:
        """The objects of a list; left out: none."""
        return [JsonObject(value, f"{self.path(key)}[{index}]") for index, value in enumerate(self._list(key))]

    def _list(self, key: str) -> list[Any]:
        values = self._values.get(key)
        if values is not None and not isinstance(values, list):
            raise unusable(self.path(key), Message("a list"))
        if values is not None and len(values) > _LONGEST_LIST:
            raise unusable(self.path(key), Message("a list of at most {count}", count=_LONGEST_LIST))
        return values or []


def _number(value: Any, path: str, *, below_zero: bool = False) -> float:
    """One that no arithmetic turns into infinity, or a chart into nonsense: not NaN, and below 2^53."""
    least = -_TOO_LARGE if below_zero else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _TOO_LARGE:
        raise unusable(path, Message("a number from 0 up, or null"))
    return value


def unusable(path: str, expected: Message) -> LaunchdeckError:
    """The error for a document that has something else than `expected` at `path`."""
    return LaunchdeckError.of(
        Cause.BAD_REQUEST,
        Message("The recorded inventory cannot be used: {path} should be {expected}.", path=path, expected=expected),
        Message("Record it again with 'launchdeck gpus --json'."),
    )
