"""The window's language. English sentences are the keys; `resources/translations/ko.json` has the Korean ones."""

from __future__ import annotations

import json
import logging

from PySide6.QtCore import QLocale

from launchdeck.domain.text import Message
from launchdeck.resources import resource

_log = logging.getLogger(__name__)

_language = "en"
_catalog: dict[str, str] = {}


def set_language(choice: str) -> None:
    """Take "en", "ko", or "auto": the system's language, English where it is neither.

    Widgets read their words when they are made: call this before the first one.
    """
    global _language, _catalog  # noqa: PLW0603 (a process speaks one language)
    if choice == "auto":
        choice = "ko" if QLocale.system().language() == QLocale.Language.Korean else "en"
    _language = choice
    _catalog = _load(choice)


def language() -> str:
    """The language in use: "en" or "ko"."""
    return _language


def tr(text: str | Message, /, **values: object) -> str:
    """The text in the window's language, its `{named}` places filled with `values` (or the Message's own)."""
    message = text if isinstance(text, Message) else Message(text, **values)
    return message.fill(_catalog)


def _load(choice: str) -> dict[str, str]:
    if choice == "en":
        return {}
    path = resource(f"translations/{choice}.json")
    try:
        catalog: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        _log.exception("No translation in %s: the window speaks English", path)
        return {}
    return catalog
