"""A gated delta net in chunks of tokens, for when it is not done in one operation.

llama.cpp tries that with some tokens of each sequence; where layers are in RAM, and the first GPU takes on so many, it
does without. Source: `build_delta_net_chunking` of llama.cpp (delta-net-base.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.planning.llama.replay.steps import SplitInput, Steps

_FLOAT_BYTES = 4
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Inputs:
    """What makes the inputs when they are needed, and the state, which is copied for the first that reads it."""

    forgets: Callable[[], str]
    mixed: Callable[[], str]
    key: Callable[[str], str]
    learns: Callable[[], str]
    state: str
    state_copy: tuple[SplitInput, ...]


@dataclass(frozen=True, slots=True)
class Chunks:
    """So many heads of such a length, in so many sequences of so many tokens each."""

    steps: Steps
    heads: int
    length: int
    sequences: int
    tokens: int

    def result(self, inputs: Inputs) -> str:
        """Make the states, chunk by chunk, and then the outputs, which need what all of those left."""
        add, heads = self.steps.add, _FLOAT_BYTES * self.heads * self.sequences
        count = -(-self.tokens // _CHUNK)
        gates, rows, pairs = (heads * count * _CHUNK * length for length in (1, self.length, _CHUNK))
        state_bytes, chunk_bytes = heads * self.length**2, heads * _CHUNK * self.length

        sums = add(gates, add(gates, add(gates, inputs.forgets())))
        last = add(heads * count, sums)
        decays = add(heads * count, last)
        state = add(state_bytes, inputs.state, decays, inputs=inputs.state_copy)
        mixed = inputs.mixed()
        key = add(rows, inputs.key(mixed))
        since = add(gates, sums, last)
        key_t = add(rows, add(rows, key, add(gates, since)))
        value = add(rows, mixed)
        learns = add(gates, inputs.learns())
        value_t = add(rows, add(rows, value, learns, in_place=True))
        learned = add(rows, key, learns)
        attention, distances = self._attention(pairs, sums, key, learned)
        values = add(rows, value_t, attention)
        values_t = add(rows, values)
        learned = add(rows, learned)
        sums = add(gates, sums, in_place=True)
        learned = add(rows, learned, sums, in_place_of=learned)
        decayed = add(rows, learned, attention)
        states, changes = [inputs.state], []
        for chunk in range(count):
            if chunk:
                state = add(state_bytes, states[-1], decays)
            change = add(chunk_bytes, decayed, states[-1])
            changes.append(add(chunk_bytes, values_t, change, in_place_of=change))
            states.append(add(state_bytes, state, add(state_bytes, key_t, changes[-1]), in_place_of=state))
        self.steps.store(states[-1])

        query = add(rows, inputs.key(mixed))
        queries = add(rows, query, add(gates, sums))
        weights = ""
        for begun, changed in zip(states, changes, strict=False):
            output = add(chunk_bytes, begun, queries)
            if not weights:
                weights = add(pairs, key, query)
                weights = add(pairs, add(pairs, weights, distances, in_place_of=weights))
            output = add(chunk_bytes, output, add(chunk_bytes, changed, weights), in_place_of=output)
            values = add(rows, values, output, in_place_of=values)
        return values

    def _attention(self, pairs: int, sums: str, key: str, learned: str) -> tuple[str, str]:
        """How tokens of a chunk work on later ones, solved for all at once, and their decay by distance."""
        add = self.steps.add
        among = add(pairs, key, learned)
        distances = add(pairs, sums)
        distances = add(pairs, distances, sums, in_place_of=distances)
        distances = add(pairs, distances)
        among = add(pairs, add(pairs, among, distances, in_place_of=among))
        identity = add(_FLOAT_BYTES * _CHUNK**2, add(_FLOAT_BYTES * _CHUNK, among))
        solved = add(pairs, add(pairs, among, identity), among)
        return add(pairs, solved, identity, in_place_of=solved), distances
