"""A whole layer, step by step, as its weights have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.attention_steps import attention, turned_back
from launchdeck.planning.biased_attention_steps import Bias, biased_attention, cross_attention
from launchdeck.planning.feed_forward_steps import feed_forward
from launchdeck.planning.latent_attention_steps import latent_attention
from launchdeck.planning.program import Place
from launchdeck.planning.steps import ENTERING, Steps, given

if TYPE_CHECKING:
    from launchdeck.planning.block import Block
    from launchdeck.planning.feed_forward_steps import Routing
    from launchdeck.planning.steps import Brought
    from launchdeck.planning.work import Work

_FLOAT_BYTES = 4
_OUTPUT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """One block at one kind of work. `index`: which of the layers it is, where they differ in nothing else.

    `rows`: with how many tokens it goes on after its attention; the last block `cuts` off all but the results there.
    `ends_early`: after its attention there is nothing more to do on the GPU; `gives_results`: the results are taken
    out at its end; `scales`: what enters are embeddings, which are scaled first; `added`: to which these are added,
    None where no embeddings enter; `bias_is_elsewhere`: T5's, on another GPU.
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

    def steps(self) -> Steps:
        """With norms before each part, after each part, or one norm for both parts side by side."""
        steps, block = Steps(), self.block
        whole, row = self._bytes(self.work.tokens), self._bytes(self.rows)
        before = self._begun(steps, whole)
        entering = self._normed_if_named(steps, "attn_norm", before, whole)
        found = self._attended(steps, entering)
        if self._side_by_side:
            beside = self._cut(steps, entering)
            result = beside if self.ends_early else self._fed(steps, beside)
            result = steps.add(row, result, self._cut(steps, before), in_place=True)
            steps.add(row, result, self._cut(steps, self._put_together(steps, found)), in_place=True)
            return steps
        result = self._put_together(steps, found)
        if block.encoded:
            before = steps.add(whole, result, before, in_place=True)
            result = self._crossed(steps, before, whole)
        result = self._cut(steps, result)
        if self._has_norms_after:
            result = self._normed(steps, "post_attention_norm", result, row, in_place=True)
        past = steps.add(row, result, self._cut(steps, before), in_place=True)
        if self.ends_early:
            return steps
        past = self._normed_if_named(steps, "attn_output_norm", past, row)
        result = self._fed(steps, self._normed(steps, self._norm_before, past, row) if self._norm_before else past)
        result = self._normed_if_named(steps, "post_ffw_norm", result, row, in_place=True)
        added = (past, result) if self.block.adds_to_past else (result, past)
        result = steps.change(row, steps.add(row, *added, in_place=True), block.weight("layer_output_scale"))
        result = self._normed_if_named(steps, "layer_output_norm", result, row)
        if self.gives_results:
            steps.add(self._bytes(self.work.outputs), result, brought=self._places_of_results)
        return steps

    @property
    def _bias(self) -> Bias:
        if self.place is Place.LENT and self.block.reads_cache:
            return Bias.IN_RAM_WITH_CACHE
        if self.place is not Place.OWN:
            return Bias.IN_RAM
        if self.block.has("attn_rel_b"):
            return Bias.HERE
        return Bias.ON_ANOTHER_GPU if self.bias_is_elsewhere else Bias.HERE

    @property
    def _places_of_results(self) -> tuple[Brought, ...]:
        return given("results", _OUTPUT_BYTES * self.work.outputs)

    @property
    def _has_norms_after(self) -> bool:
        """Many call the norm before their feed-forward part one after their attention."""
        block = self.block
        return block.has("post_attention_norm") and (block.has("ffn_norm") or not block.has("attn_norm"))

    @property
    def _norm_before(self) -> str:
        if self.block.has("ffn_norm"):
            return "ffn_norm"
        return "post_attention_norm" if self.block.has("post_attention_norm") and not self._has_norms_after else ""

    @property
    def _side_by_side(self) -> bool:
        return self.block.has("attn_norm") and not self._norm_before and not self._has_norms_after

    def _bytes(self, tokens: int) -> int:
        return _FLOAT_BYTES * tokens * self.n_embd

    def _begun(self, steps: Steps, whole: int) -> str:
        entering = steps.add(whole, ENTERING, in_place=True) if self.scales else ENTERING
        if self.added is None or not self.block.has("token_embd_norm"):
            return entering
        if "kinds" in self.added:
            entering = steps.add(whole, entering, "kinds", in_place=True)
        if "positions" in self.added:
            entering = steps.add(whole, "positions", entering, in_place=True)
        return self._normed(steps, "token_embd_norm", entering, whole)

    def _attended(self, steps: Steps, entering: str) -> str:
        if self.block.is_biased:
            return biased_attention(steps, self.block, self.work, entering, layer=self.index, bias=self._bias)
        if self.block.latent_rank:
            return latent_attention(steps, self.block, self.work, entering, lent=self.place is Place.LENT)
        return attention(steps, self.block, self.work, entering)

    def _crossed(self, steps: Steps, before: str, whole: int) -> str:
        """What was found in what was encoded."""
        normed = self._normed(steps, "cross_attn_norm", before, whole)
        found = cross_attention(steps, self.block, self.work, normed, self.n_embd)
        return steps.add(whole, found, brought=self.block.weight("cross_attn_output"))

    def _normed_if_named(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        return self._normed(steps, part, entering, size, in_place=in_place) if self.block.has(part) else entering

    def _normed(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        result = steps.add(size, entering, in_place=in_place)
        return steps.change(size, result, self.block.weight(part), self.block.bias(part))

    def _put_together(self, steps: Steps, found: str) -> str:
        """One result of all heads."""
        size = self._bytes(self.work.tokens)
        if found and not self.block.latent_rank:
            found = turned_back(steps, self.block, self.work, found)
        if self.block.has("attn_sub_norm"):
            heads = _FLOAT_BYTES * self.work.tokens * self.block.depth("attn_output")
            found = self._normed(steps, "attn_sub_norm", found, heads, in_place=not self.work.flash_attention)
        reads = (found,) if found else ()
        result = steps.add(size, *reads, brought=self.block.weight("attn_output"))
        return steps.change(size, result, self.block.bias("attn_output"))

    def _cut(self, steps: Steps, result: str) -> str:
        if not self.cuts:
            return result
        return steps.add(self._bytes(self.rows), result, brought=self._places_of_results)

    def _fed(self, steps: Steps, entering: str) -> str:
        return feed_forward(steps, self.block, self.routing, entering, self.n_embd, self.rows)
