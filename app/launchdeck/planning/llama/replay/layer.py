"""A layer at one kind of work, and what all that is done in it has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.steps import graph_input

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.layers.feed_forward import Routing
    from launchdeck.planning.llama.replay.program import Fetch, Place
    from launchdeck.planning.llama.replay.steps import SplitInput, Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_OUTPUT_BYTES = 4


class First(NamedTuple):
    """What a GPU does before its first layer, while the device before has not come to the end of its last one."""

    fetches: bool = False
    """It fetches the state for the next recurrent layer."""
    ends_split: bool = False
    """The device before goes on with its layer then."""
    gate_of: Block | None = None
    """It makes the gate that ends a layer like this on the device before."""
    adds_up: bool = False
    """It adds what the other device's experts made to what went past them, which is all that was left to do there."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block at one kind of work."""

    block: Block
    routing: Routing
    work: Work
    n_embd: int
    index: int
    """Which of the layers it is, where they differ in nothing else."""
    place: Place
    rows: int
    """With how many tokens it goes on after its attention."""
    cuts: bool
    """It is the last one, and leaves all tokens there that give no results (`inp_out_ids`)."""
    ends_early: bool
    """After its attention there is nothing more to do on the GPU."""
    gives_results: bool
    """The results are taken out at its end."""
    scales: bool
    """What enters are embeddings, which are scaled first."""
    added: tuple[str, ...] | None
    """What is added to the embeddings; None where none enter."""
    bias_is_elsewhere: bool
    """T5's bias is on another GPU."""
    fetch: Fetch | None
    """Who fetches the state of the next recurrent layer meanwhile."""
    fuses: bool
    """What can be is done as one operation."""
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
    def places_of_results(self) -> tuple[SplitInput, ...]:
        """Which of the tokens give results."""
        return graph_input("results", _OUTPUT_BYTES * self.work.outputs)

    def normed(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        """Normalise it, with the weights of this norm if there are any."""
        result = steps.add(size, entering, in_place=in_place)
        return steps.change(size, result, self.block.weight(part), self.block.bias(part))

    def normed_if_named(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        """Normalise it where this norm is there."""
        return self.normed(steps, part, entering, size, in_place=in_place) if self.block.has(part) else entering

    def cut(self, steps: Steps, result: str) -> str:
        """Go on with the tokens that give results, if this is where the others are left."""
        return steps.add(self.row_bytes, result, inputs=self.places_of_results) if self.cuts else result
