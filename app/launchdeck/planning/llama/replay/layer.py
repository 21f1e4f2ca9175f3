"""A layer at one kind of work, and what all that is done in it has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.steps import given

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.layers.feed_forward import Routing
    from launchdeck.planning.llama.replay.program import Fetch, Place
    from launchdeck.planning.llama.replay.steps import Brought, Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_OUTPUT_BYTES = 4


class First(NamedTuple):
    """What a GPU does before its first layer: it fetches the state for the next recurrent one, and makes the gate that
    ends a layer like `gate_of` on another device. With `leaves` that one goes on with its layer then; but where that
    would only have to add what its experts made to what went past them, this GPU `adds_up`.
    """

    fetches: bool = False
    leaves: bool = False
    gate_of: Block | None = None
    adds_up: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One block at one kind of work. `index`: which of the layers it is, where they differ in nothing else.

    `rows`: with how many tokens it goes on after its attention; the last block `cuts` off all but the results there.
    `ends_early`: after its attention there is nothing more to do on the GPU; `gives_results`: the results are taken
    out at its end; `scales`: what enters are embeddings, which are scaled first; `added`: to which these are added,
    None where no embeddings enter; `bias_is_elsewhere`: T5's, on another GPU. `fetch` says who fetches the state of
    the next recurrent layer meanwhile, and `first` what else its GPU does before it; `fuses`: what can be is done as
    one.
    """

    block: Block
    routing: Routing
    work: Work
    n_embd: int
    index: int
    place: Place
    rows: int
    cuts: bool
    ends_early: bool
    gives_results: bool
    scales: bool
    added: tuple[str, ...] | None
    bias_is_elsewhere: bool
    fetch: Fetch | None
    fuses: bool
    first: First

    @property
    def whole_bytes(self) -> int:
        """What all tokens take as they enter."""
        return _FLOAT_BYTES * self.work.tokens * self.n_embd

    @property
    def row_bytes(self) -> int:
        """What the tokens take that it goes on with."""
        return _FLOAT_BYTES * self.rows * self.n_embd

    @property
    def has_norms_after(self) -> bool:
        """Many call the norm before their feed-forward part one after their attention."""
        block = self.block
        return block.has("post_attention_norm") and (block.has("ffn_norm") or not block.has("attn_norm"))

    @property
    def norm_before(self) -> str:
        """The name of the norm before the feed-forward part, empty where there is none."""
        if self.block.has("ffn_norm") or self.block.norms_plainly:
            return "ffn_norm"
        return "post_attention_norm" if self.block.has("post_attention_norm") and not self.has_norms_after else ""

    @property
    def side_by_side(self) -> bool:
        """Whether both parts get what enters."""
        block = self.block
        return block.feeds_past or (block.has("attn_norm") and not self.norm_before and not self.has_norms_after)

    @property
    def places_of_results(self) -> tuple[Brought, ...]:
        """Which of the tokens give results."""
        return given("results", _OUTPUT_BYTES * self.work.outputs)

    def normed(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        """Normalise it, with the weights of this norm if there are any."""
        result = steps.add(size, entering, in_place=in_place)
        return steps.change(size, result, self.block.weight(part), self.block.bias(part))

    def normed_if_named(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        """Normalise it where this norm is there."""
        return self.normed(steps, part, entering, size, in_place=in_place) if self.block.has(part) else entering

    def cut(self, steps: Steps, result: str) -> str:
        """Go on with the tokens that give results, if this is where the others are left."""
        return steps.add(self.row_bytes, result, brought=self.places_of_results) if self.cuts else result
