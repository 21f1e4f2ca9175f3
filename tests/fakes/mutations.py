"""Documents with something wrong in them, made from one that is right."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

STRANGE = (
    None, True, False, 0, -1, 1, 1 << 62, -(1 << 63), 0.5, -0.0, 1e300, "", " ", ".", "..", "/", "../../x", "a/../b",
    "/etc/passwd", "~", "\0", "\n", "\x1b[31m", "a\\b", "x" * 300, "/".join("ab" * 40), "é" * 200, "0" * 5000, "９９",
    "-rf", "con", "a:b", "%2e%2e%2f", "b" + "9" * 400, "v" + "." * 90 + "-cu", "{x}", "sha256:" + "g" * 64,
    [], {}, [[]], [None], {"": None}, [{}] * 3, {"sha256": 7}, {"sha256": "a" * 64},
)  # fmt: skip


def mutations(valid: Any, *, seed: int, count: int) -> Iterator[Any]:
    """So many copies of `valid`, each with one to four values exchanged, taken away, doubled or put elsewhere."""
    chance = random.Random(seed)
    for _ in range(count):
        holder = [copy.deepcopy(valid)]
        for _ in range(chance.randint(1, 4)):
            _change(holder, chance)
        yield holder[0]


def _change(holder: list[Any], chance: random.Random) -> None:
    containers = list(_containers(holder))
    place = chance.choice(containers)
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
        return
    key = chance.choice(keys)
    what = chance.random()
    if what < 0.7 or place is holder:
        place[key] = _strange(place[key], chance)
    elif what < 0.85:
        del place[key]
    elif isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    else:
        place[chance.choice(["", "id", "size", "lfs", "x" * 300])] = place.pop(key)


def _strange(value: Any, chance: random.Random) -> Any:
    """Another kind of value, or the same text with a piece of another in it."""
    other = copy.deepcopy(chance.choice(STRANGE))
    if isinstance(value, str) and isinstance(other, str) and chance.random() < 0.6:
        at = chance.randint(0, len(value))
        return value[:at] + other + value[at + chance.randint(0, 3) :]
    return other


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _containers(inner)
    elif isinstance(value, list):
        yield value
        for inner in value:
            yield from _containers(inner)
