"""Domain values to JSON and back, by their type hints.

Forty lines instead of pydantic, whose import and first schema for a LaunchPlan took 440 ms, which is more than a
whole launch. A Message inside a Message comes back as one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from string import Formatter
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from launchdeck.domain.limits import Between
from launchdeck.domain.text import Message

logger = logging.getLogger(__name__)

_Value = TypeVar("_Value")
_INTEGER: Final = Between(-(1 << 53), 1 << 53)
"""Bytes of any device, and what JSON keeps exact everywhere."""
_FLOAT: Final = Between(-1e15, 1e15)
_TEXT_LIMIT: Final = 64 * 1024
_PATH_LIMIT: Final = 4096
_ITEMS_LIMIT: Final = 100_000


def to_json(value: Any) -> Any:
    """Dataclasses become objects, enums their values, paths and names strings, tuples and sets lists."""
    if isinstance(value, Message):
        return {"template": value.template, "values": {name: to_json(item) for name, item in value.values}}
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (Path, str)):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    return value


def from_json(kind: Any, data: Any) -> Any:
    """A value of this type, as far as its limits go. Raises ValueError for anything else; unknown fields are left out.

    `data` is what `files.reading.parse_json` gives: not nested without end.
    """
    try:
        return _decode(kind, data)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no {kind}: {error}") from error


def decoded(
    kind: type[_Value], entries: dict[str, Any], upgrade: Callable[[Any], Any] = lambda data: data
) -> dict[str, _Value]:
    """The entries of a file that are values of this type. One that is none costs itself alone, and the log names it.

    `upgrade` makes of what older versions wrote what this one does; it may raise ValueError.
    """
    found: dict[str, _Value] = {}
    for name, data in entries.items():
        try:
            found[name] = from_json(kind, upgrade(data))
        except ValueError as error:
            logger.warning("%r is left out, it cannot be read: %s", name, error)
    return found


def _decode(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        kind, limits = get_args(kind)
        value = _decode(kind, data)
        limits.check(value)
        return value
    if origin in {Union, UnionType}:
        return _decode_union(get_args(kind), data)
    if origin in {tuple, frozenset}:
        return _decode_items(origin, get_args(kind), data)
    if kind is Message or (kind is object and isinstance(data, dict)):
        return _decode_message(data)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data)
    if kind is object:
        return _decode_items(tuple, (object, ...), data) if isinstance(data, list) else _decode_plain(type(data), data)
    if kind is Path:
        return _decode_path(data)
    if issubclass(kind, Enum):
        return kind(data)
    if issubclass(kind, str):  # a name that has a type of its own
        return kind(_decode_plain(str, data))
    return _decode_plain(kind, data)


def _decode_message(data: dict[str, Any]) -> Message:
    """One that can be filled: a place without a value, or with a million spaces, would end whoever reads it."""
    template = _decode(str, data["template"])
    values = {name: _decode(object, item) for name, item in data["values"].items()}
    for _, name, spec, conversion in Formatter().parse(template):
        if name is not None and (name not in values or spec or conversion):
            raise ValueError(f"{template!r:.100} cannot be filled")
    return Message(template, **values)


def _decode_plain(kind: Any, data: Any) -> Any:
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind or kind in {dict, list}:  # a bool is no int
        raise TypeError(f"{data!r} is no {kind.__name__}")
    if kind is int:
        _INTEGER.check(data)
    elif kind is float:
        _FLOAT.check(data)
    elif kind is str and len(data) > _TEXT_LIMIT:
        raise ValueError(f"a text has {len(data)} characters")
    return data


def _decode_path(data: Any) -> Path:
    if not isinstance(data, str) or len(data) > _PATH_LIMIT or "\0" in data:
        raise TypeError(f"{data!r:.100} is no path")
    return Path(data)


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    (kind,) = (kind for kind in kinds if kind is not type(None))
    return _decode(kind, data)


def _decode_items(origin: Any, kinds: tuple[Any, ...], data: Any) -> Any:
    if not isinstance(data, list) or len(data) > _ITEMS_LIMIT:
        raise TypeError(f"{data!r:.100} is no list")
    if len(kinds) == 1 or kinds[1] is Ellipsis:
        return origin(_decode(kinds[0], item) for item in data)
    return tuple(_decode(kind, item) for kind, item in zip(kinds, data, strict=True))


def _decode_dataclass(kind: Any, data: dict[str, Any]) -> Any:
    if not isinstance(data, dict):
        raise TypeError(f"{data!r:.100} is no {kind.__name__}")
    hints = _hints(kind)
    values = {}
    for field in fields(kind):
        if field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} lacks {field.name}")
    return kind(**values)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)
