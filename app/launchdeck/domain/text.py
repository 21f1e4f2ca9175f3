"""Sentences that are made deep inside and read, in the user's language, at the surface."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """An English sentence with `{named}` places, and what goes into them.

    The template is the key of the translation, so it is always a literal. `str()` gives English; the window
    looks the template up in its language first.
    """

    template: str
    values: tuple[tuple[str, object], ...]

    def __init__(self, template: str, **values: object) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "values", tuple(sorted(values.items())))

    def fill(self, catalog: Mapping[str, str] = _NOTHING) -> str:
        """The sentence in the catalog's language (English where the catalog lacks it).

        A value that is a Message itself is filled from the same catalog.
        """
        values = {name: value.fill(catalog) if isinstance(value, Message) else value for name, value in self.values}
        return catalog.get(self.template, self.template).format_map(values)

    def __str__(self) -> str:
        return self.fill()
