"""What a model may be called: the name stands in addresses, tables, terminals and files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from launchdeck.domain.model import ModelInfo

LONGEST_NAME: Final = 100
_LONGEST_DEFAULT: Final = LONGEST_NAME - len("-1000")
# llama-server takes a comma as the start of a second name; a backslash separates folders on Windows
_FORBIDDEN: Final = re.compile(r"[\s,\\]")


def check_name(name: str) -> None:
    """Refuse what no model can be called. Like "org/name" it may have parts.

    Raises:
        LaunchdeckError: it holds what cannot be seen (control characters, marks that turn the direction of writing), is
            a way through folders, or is too long.
    """
    if (
        len(name) > LONGEST_NAME
        or name.startswith("-")
        or not name.isprintable()
        or _FORBIDDEN.search(name)
        or any(part in {"", ".", ".."} for part in name.split("/"))
    ):
        raise LaunchdeckError.of(
            Cause.BAD_NAME,
            Message("{name} cannot be a model's name.", name=ascii(name[:LONGEST_NAME])),
            Message(
                "Use up to {count} letters, digits and marks that can be seen, without spaces, commas and backslashes, "
                "that do not begin with '-'; '/' only between two parts, and neither is '.' or '..'.",
                count=LONGEST_NAME,
            ),
        )


def default_model_id(model: ModelInfo) -> str:
    """The model's name as a word: "Qwen3 8B" becomes "qwen3-8b". There is room for a number behind it."""
    return re.sub(r"[^\w.]+", "-", model.name.lower())[:_LONGEST_DEFAULT].strip("-.") or "model"
