"""A whole layer, step by step, as its weights have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.attention_steps import attention, gated, turned_back
from launchdeck.planning.biased_attention_steps import Bias, biased_attention, cross_attention
from launchdeck.planning.feed_forward_steps import dense, feed_forward, routed
from launchdeck.planning.latent_attention_steps import latent_attention
from launchdeck.planning.program import Place
from launchdeck.planning.steps import ENTERING, LAYER_EMBEDDINGS, Steps, away, given, kept
from launchdeck.planning.unfolded_attention_steps import unfolded_attention

if TYPE_CHECKING:
    from launchdeck.planning.block import Block
    from launchdeck.planning.feed_forward_steps import Routed, Routing
    from launchdeck.planning.steps import Brought
    from launchdeck.planning.work import Work

_FLOAT_BYTES = 4
_OUTPUT_BYTES = 4
_OF_ALL_LAYERS = "embeddings of all layers"


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
        whole = self._bytes(self.work.tokens)
        selected = self._layer_embeddings(steps) if block.has("per_layer_model_proj") else ""
        before = self._begun(steps, whole)
        norm = "attn_norm_2" if block.has("attn_norm_2") else "attn_norm"
        entering = self._normed(steps, norm, before, whole) if block.has(norm) or block.norms_plainly else before
        found = self._attended(steps, entering)
        if self._side_by_side:
            result = self._added_up(steps, entering, before, found)
        else:
            result = self._in_turn(steps, before, found)
        if self.ends_early:
            return steps
        if block.has("inp_gate"):
            result = self._with_layer_embedding(steps, result, before, selected)
        result = steps.change(self._bytes(self.rows), result, block.weight("layer_output_scale"))
        result = self._normed_if_named(steps, "layer_output_norm", result, self._bytes(self.rows))
        if self.gives_results:
            steps.add(self._bytes(self.work.outputs), result, brought=self._places_of_results)
        return steps

    def _in_turn(self, steps: Steps, before: str, found: str) -> str:
        """The feed-forward part goes on with what the attention and what went past it add up to."""
        row, block = self._bytes(self.rows), self.block
        chosen = self._routed(steps, before) if block.routes_first and not self.ends_early else None
        past = self._cut(steps, before) if block.adds_to_entering else ""
        result = self._put_together(steps, found)
        if block.encoded:
            before = steps.add(self._bytes(self.work.tokens), result, before, in_place=True)
            result = self._crossed(steps, before)
        result = self._cut(steps, result)
        if self._has_norms_after:
            result = self._normed(steps, "post_attention_norm", result, row, in_place=True)
        added = (past, result) if past else (result, self._cut(steps, before))
        past = steps.add(row, *added, in_place=True)
        if self.ends_early:
            return past
        past = self._normed_if_named(steps, "attn_output_norm", past, row)
        if block.has("pre_ffw_norm_2"):
            result = self._fed_twice(steps, past)
        else:
            result = self._normed(steps, self._norm_before, past, row) if self._norm_before else past
            result = self._fed(steps, result, chosen)
        result = self._normed_if_named(steps, "post_ffw_norm", result, row, in_place=True)
        added = (past, result) if block.adds_to_past else (result, past)
        return steps.add(row, *added, in_place=True)

    def _layer_embeddings(self, steps: Steps) -> str:
        """The tokens' own embeddings for all layers, scaled."""
        size = _FLOAT_BYTES * self.work.tokens * self.block.width("per_layer_model_proj")
        return steps.add(size, LAYER_EMBEDDINGS, in_place=True)

    def _with_layer_embedding(self, steps: Steps, past: str, embeddings: str, selected: str) -> str:
        """Another part, with this layer's embedding of the token; the first layer makes those of all."""
        block, row = self.block, self._bytes(self.rows)
        narrow = _FLOAT_BYTES * self.rows * block.width("inp_gate")
        result = steps.add(narrow, past, brought=block.weight("inp_gate"))
        if selected:
            size = _FLOAT_BYTES * self.work.tokens * block.width("per_layer_model_proj")
            projected = steps.add(size, embeddings, brought=block.weight("per_layer_model_proj"))
            projected = steps.change(size, steps.add(size, projected), block.weight("per_layer_proj_norm"))
            steps.keep(size, steps.add(size, projected, selected, in_place=True), _OF_ALL_LAYERS)
        copy = block.embedding_copy
        embedding = away(f"embedding{copy}", narrow) if copy else kept(_OF_ALL_LAYERS)
        result = steps.add(narrow, result, brought=embedding, in_place=True)
        result = steps.add(row, result, brought=block.weight("proj"))
        return steps.add(row, past, self._normed(steps, "post_norm", result, row, in_place=True), in_place=True)

    def _attended(self, steps: Steps, entering: str) -> str:
        block, work = self.block, self.work
        if block.is_biased:
            return biased_attention(steps, block, work, entering, layer=self.index, bias=self._bias)
        if block.latent_rank:
            return latent_attention(steps, block, work, entering, lent=self.place is Place.LENT)
        if block.has("attn_kv_b"):
            return unfolded_attention(steps, block, work, entering)
        found = attention(steps, block, work, entering, attends_in_ram=self._attends_in_ram)
        return gated(steps, block, work, found, entering) if block.has("attn_gate") else found

    def _routed(self, steps: Steps, before: str) -> Routed:
        """To which experts what entered goes, before the attention's results are put together."""
        row = _FLOAT_BYTES * self.block.width("ffn_gate_inp")
        scores = steps.add(row * self.work.tokens, before, brought=self.block.weight("ffn_gate_inp"))
        if self.cuts:
            scores = steps.add(row * self.rows, scores, brought=self._places_of_results)
        return routed(steps, self.block, self.routing, scores, self.rows)

    def _added_up(self, steps: Steps, entering: str, before: str, found: str) -> str:
        """What is made side by side, in its order."""
        row, past = self._bytes(self.rows), ""
        made: list[str] = []
        for sign in self.block.sum_of_parts:
            if sign == "+":
                second, first = made.pop(), made.pop()
                made.append(steps.add(row, first, second, in_place=True))
            elif sign == "a":
                made.append(self._cut(steps, self._put_together(steps, found)))
            elif sign == "p":
                made.append(past or self._cut(steps, before))
            elif self.ends_early:
                made.append(steps.add(row))
            elif self.block.feeds_past:
                past = self._cut(steps, before)
                made.append(self._fed(steps, self._normed(steps, "ffn_norm", past, row)))
            else:
                made.append(self._fed(steps, self._beside(steps, entering, before)))
        return made.pop()

    def _beside(self, steps: Steps, entering: str, before: str) -> str:
        """What goes into the feed-forward part: the same as into the attention, or with a norm of its own."""
        if self.block.has("attn_norm_2"):
            entering = self._normed(steps, "attn_norm", before, self._bytes(self.work.tokens))
        return self._cut(steps, entering)

    @property
    def _attends_in_ram(self) -> bool:
        """A device attends if it does the next thing with a weight: the host, if that is for a few results."""
        return self.ends_early and self._side_by_side and self.block.sum_of_parts.startswith("f")

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
        if self.block.has("ffn_norm") or self.block.norms_plainly:
            return "ffn_norm"
        return "post_attention_norm" if self.block.has("post_attention_norm") and not self._has_norms_after else ""

    @property
    def _side_by_side(self) -> bool:
        block = self.block
        return block.feeds_past or (block.has("attn_norm") and not self._norm_before and not self._has_norms_after)

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

    def _crossed(self, steps: Steps, before: str) -> str:
        """What was found in what was encoded."""
        whole = self._bytes(self.work.tokens)
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
        if found and not self.block.latent_rank and not self.block.has("attn_gate"):
            found = turned_back(steps, self.block, self.work, found)
        if self.block.has("attn_sub_norm"):
            heads = _FLOAT_BYTES * self.work.tokens * self.block.depth("attn_output")
            found = self._normed(steps, "attn_sub_norm", found, heads, in_place=not self.work.flash_attention)
        reads = (found,) if found else ()
        result = steps.add(size, *reads, brought=self.block.weight("attn_output"))
        return steps.change(size, result, self.block.scale("attn_output"), self.block.bias("attn_output"))

    def _cut(self, steps: Steps, result: str) -> str:
        if not self.cuts:
            return result
        return steps.add(self._bytes(self.rows), result, brought=self._places_of_results)

    def _fed_twice(self, steps: Steps, past: str) -> str:
        """By experts, and by a part that is for all tokens, each with norms before and after it."""
        block, row = self.block, self._bytes(self.rows)
        scored = steps.change(row, steps.add(row, past), block.scale("ffn_gate_inp"))
        scores = _FLOAT_BYTES * self.rows * block.width("ffn_gate_inp")
        scored = steps.add(scores, scored, brought=block.weight("ffn_gate_inp"))
        chosen = routed(steps, block, self.routing, scored, self.rows)
        result = self._fed(steps, self._normed(steps, "pre_ffw_norm_2", past, row), chosen)
        shared = dense(steps, block, self._normed(steps, "ffn_norm", past, row), self.n_embd, self.rows)
        shared = self._normed(steps, "post_ffw_norm_1", shared, row, in_place=True)
        result = self._normed(steps, "post_ffw_norm_2", result, row, in_place=True)
        return steps.add(row, shared, result, in_place=True)

    def _fed(self, steps: Steps, entering: str, chosen: Routed | None = None) -> str:
        return feed_forward(steps, self.block, self.routing, entering, self.n_embd, self.rows, chosen)
