from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import launchdeck
from launchdeck.domain.text import Message
from launchdeck.resources import resource
from launchdeck.ui.kit.i18n import language, set_language, tr

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(launchdeck.__file__).parent
KOREAN = resource("translations/ko.json")
NAMED_PLACE = re.compile(r"\{(\w+)[^}]*\}")


def catalog() -> dict[str, str]:
    return json.loads(KOREAN.read_text(encoding="utf-8"))


def templates(tree: ast.AST) -> Iterator[tuple[int, str | None]]:
    """Line and first argument of every tr() and Message(); None for text that is put together by the program."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in {"tr", "Message"}:
            continue
        match node.args[0]:
            case ast.Constant(value=str(text)):
                yield node.lineno, text
            case ast.JoinedStr() | ast.BinOp():
                yield node.lineno, None


def used() -> dict[str | None, list[str]]:
    places: dict[str | None, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for line, text in templates(ast.parse(path.read_text(encoding="utf-8"))):
            places.setdefault(text, []).append(f"{path.relative_to(SOURCE)}:{line}")
    return places


def test_every_sentence_has_a_korean_one():
    missing = {text: places for text, places in used().items() if text not in catalog()}
    assert missing == {}


def test_no_korean_sentence_is_unused():
    assert catalog().keys() - used().keys() == set()


def test_translations_keep_the_named_places():
    wrong = [key for key, text in catalog().items() if {*NAMED_PLACE.findall(key)} != {*NAMED_PLACE.findall(text)}]
    assert wrong == []


def test_catalog_is_sorted_with_one_key_a_line():
    ordered = json.dumps(dict(sorted(catalog().items())), ensure_ascii=False, indent=4)
    assert KOREAN.read_text(encoding="utf-8").rstrip("\n") == ordered


def test_tr_speaks_the_chosen_language():
    set_language("ko")
    assert language() == "ko"
    assert tr("{hours} h {minutes} min", hours=1, minutes=5) == "1시간 5분"
    set_language("en")
    assert tr("{hours} h {minutes} min", hours=1, minutes=5) == "1 h 5 min"


def test_tr_translates_messages_and_the_messages_in_them():
    set_language("ko")
    assert tr(Message("{seconds} s", seconds=Message("Not measurable"))) == "측정 불가초"


def test_a_sentence_without_translation_stays_english():
    set_language("ko")
    unknown = "Nobody has translated {this} yet"
    assert tr(unknown, this="line") == "Nobody has translated line yet"


@pytest.mark.parametrize(("locale", "expected"), [("ko_KR", "ko"), ("en_GB", "en"), ("de_DE", "en")])
def test_auto_follows_the_system(locale: str, expected: str):
    """In a process of its own: Qt asks for the system's language only once."""
    ask = "from launchdeck.ui.kit import i18n; i18n.set_language('auto'); print(i18n.language())"
    environment = {**os.environ, "LC_ALL": f"{locale}.UTF-8", "LANG": f"{locale}.UTF-8", "LANGUAGE": ""}
    environment["PYTHONPATH"] = str(SOURCE.parent)
    answer = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == expected
