"""Domain values to JSON and back, by their type hints.

Forty lines instead of pydantic, whose import and first schema for a LaunchPlan took 440 ms, which is more than a
whole launch. A Message inside a Message comes back as one.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from launchdeck.domain.text import Message


def to_json(value: Any) -> Any:
    """Dataclasses become objects, enums their values, paths strings, tuples and sets lists."""
    if isinstance(value, Message):
        return {"template": value.template, "values": {name: to_json(item) for name, item in value.values}}
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    return value


def from_json(kind: Any, data: Any) -> Any:
    """A value of this type. Raises ValueError for anything else; unknown fields are left out."""
    try:
        return _decode(kind, data)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no {kind}: {error}") from error


def _decode(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return _decode_union(get_args(kind), data)
    if origin in {tuple, frozenset}:
        return _decode_items(origin, get_args(kind), data)
    if kind is Message or (kind is object and isinstance(data, dict)):
        return Message(data["template"], **{name: _decode(object, item) for name, item in data["values"].items()})
    if is_dataclass(kind):
        return _decode_dataclass(kind, data)
    if kind is object:
        return tuple(data) if isinstance(data, list) else data
    if kind is Path or issubclass(kind, Enum):
        return kind(data)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:  # a bool is no int
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    (kind,) = (kind for kind in kinds if kind is not type(None))
    return _decode(kind, data)


def _decode_items(origin: Any, kinds: tuple[Any, ...], data: Any) -> Any:
    if not isinstance(data, list):
        raise TypeError(f"{data!r} is no list")
    if len(kinds) == 1 or kinds[1] is Ellipsis:
        return origin(_decode(kinds[0], item) for item in data)
    return tuple(_decode(kind, item) for kind, item in zip(kinds, data, strict=True))


def _decode_dataclass(kind: Any, data: dict[str, Any]) -> Any:
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
    return get_type_hints(kind)
