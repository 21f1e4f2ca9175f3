"""One row for each architecture, and no architecture's name anywhere else."""

from __future__ import annotations

import ast
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launchdeck.models.architectures import traits as traits_module
from launchdeck.models.architectures.table import ARCHITECTURES, UNKNOWN, traits_of
from launchdeck.models.architectures.traits import Cache, Purpose, Recurrence, Traits

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[3] / "app" / "launchdeck"
TABLE = PACKAGE / "models" / "architectures" / "table.py"
# What is called like an architecture and is none, with the reason.
CALLED_ALIKE = {
    "engines/llama/engine.py": {"llama"},  # the family of engines
    "domain/request.py": {"llama"},
    "commands/parser.py": {"llama"},
    "models/gguf/tiny_llama.py": {"llama"},  # writes a model of this architecture, for the self-test
    # `model_type` of a safetensors folder's config.json: Hugging Face's names, which vLLM goes by
    "models/safetensors/config_defaults.py": {"cohere2", "gemma", "gemma2", "gemma3", "gpt2", "llama"},
    "models/safetensors/config_json.py": {"mamba"},
}


def test_names_stand_in_order_and_once() -> None:
    table = next(node for node in ast.walk(ast.parse(TABLE.read_text())) if isinstance(node, ast.Dict))
    written = [key.value for key in table.keys if isinstance(key, ast.Constant)]
    assert written == sorted(ARCHITECTURES)


def test_any_other_architecture_has_the_defaults() -> None:
    assert traits_of("tomorrow") == traits_of(None) == UNKNOWN == Traits()


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_row_does_not_contradict_itself(name: str) -> None:
    row = ARCHITECTURES[name]
    assert (row.full_attention_interval > 0) == (row.recurrence is Recurrence.BUT_FOR_INTERVAL)
    assert row.purpose is Purpose.DECODER or row.cache is not Cache.READ
    assert not (row.own_caches is not None and row.shares_caches)
    assert not row.one_part_a_layer or row.recurrence is Recurrence.WITHOUT_HEADS
    assert row.streams >= 1
    assert row.layer_embedding_length >= 0
    assert _added_up(row.sum_of_parts) == {"f", "a", "p"}
    assert all(called != usual for called, usual in row.names.items())
    window = row.window
    if window:
        assert window.period >= 0
        assert window.size > 0 or not (window.fixed or window.unasked)
        assert not window.unasked or window.fixed


def _added_up(sum_of_parts: str) -> set[str]:
    """The parts of a sum in reverse Polish notation, which has to come to one result."""
    stack: list[set[str]] = []
    for sign in sum_of_parts:
        stack.append(stack.pop() | stack.pop() if sign == "+" else {sign})
    (parts,) = stack
    return parts


def test_every_trait_tells_some_architecture_from_others() -> None:
    """Otherwise it is no trait, and nor is a kind of one that no architecture has."""
    for trait in Traits._fields:
        values = {repr(getattr(row, trait)) for row in (*ARCHITECTURES.values(), UNKNOWN)}
        assert len(values) > 1, trait
        kind = type(getattr(UNKNOWN, trait))
        if issubclass(kind, Enum):
            assert values == set(map(repr, kind)), trait


def test_every_trait_has_a_line_that_says_what_it_is() -> None:
    """A string behind it, or its own type's; a name that says all needs none."""
    tree = ast.parse(Path(traits_module.__file__).read_text())
    plain = {"all", "scales_embeddings"}
    for body in (
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name in {"Sliding", "Traits"}
    ):
        for node, behind in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            told = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
            own_type = getattr(traits_module, ast.unparse(node.annotation).removesuffix(" | None"), None)
            assert told or (own_type and own_type.__doc__) or node.target.id in plain, node.target.id


def test_no_architecture_is_named_outside_the_table() -> None:
    found: dict[str, set[str]] = {}
    for path, name in _names():
        found.setdefault(path, set()).add(name)
    assert found == CALLED_ALIKE


def _names() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        if path == TABLE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in ARCHITECTURES:
                yield path.relative_to(PACKAGE).as_posix(), str(node.value)
