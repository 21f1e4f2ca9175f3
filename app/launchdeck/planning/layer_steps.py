"""A whole layer, step by step, as its weights have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.attention_steps import attention, copy_of_found, turned_back
from launchdeck.planning.biased_attention_steps import biased_attention
from launchdeck.planning.delta_net_steps import delta_net
from launchdeck.planning.feed_forward_steps import feed_forward
from launchdeck.planning.latent_attention_steps import latent_attention
from launchdeck.planning.program import Fetch, Place
from launchdeck.planning.recurrent_steps import Scanned, fetch, gate_for_another, gated, scanned
from launchdeck.planning.short_convolution_steps import convolved, joined_before_convolution
from launchdeck.planning.steps import ENTERING, Steps, given, handed

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.planning.block import Block
    from launchdeck.planning.feed_forward_steps import Routing
    from launchdeck.planning.steps import Brought
    from launchdeck.planning.work import Work

_FLOAT_BYTES = 4
_OUTPUT_BYTES = 4
_PARTS = ("past", "experts")


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
    """One block at one kind of work.

    `rows`: with how many tokens it goes on after its attention; the last block `cuts` off all but the results there.
    `ends_early`: after its attention there is nothing more to do on the GPU; `gives_results`: the results are taken
    out at its end; `scales`: what enters are embeddings, which are scaled first. `fetch` says who fetches the state of
    the next recurrent layer meanwhile, and `first` what else its GPU does before it.
    """

    block: Block
    routing: Routing
    work: Work
    n_embd: int
    n_layer: int
    place: Place
    rows: int
    cuts: bool
    ends_early: bool
    gives_results: bool
    scales: bool
    fetch: Fetch | None
    fuses: bool
    first: First

    def steps(self) -> Steps:
        """With norms before each part, after each part, or one norm for both parts side by side; or one part alone."""
        steps, block = Steps(), self.block
        self._begin(steps)
        whole, row = self._bytes(self.work.tokens), self._bytes(self.rows)
        entering = before = self._entered(steps)
        if block.has("attn_norm"):
            entering = self._normed(steps, "attn_norm", entering, whole)
        if not block.feeds_forward:
            result = self._past_one_part(steps, entering, before)
        elif not block.mixes:
            result = steps.add(row, self._fed(steps, entering), before, in_place=True)
        elif self._side_by_side:
            result = self._both_at_once(steps, entering, before)
        else:
            past = self._past_mixing(steps, entering, before)
            if self.ends_early:
                return steps
            result = self._past_feed_forward(steps, past)
            if not result:
                return steps
        if self.gives_results:
            steps.add(self._bytes(self.work.outputs), result, brought=self._places_of_results)
        return steps

    def _entered(self, steps: Steps) -> str:
        row = self._bytes(self.work.tokens)
        if self.first.adds_up:
            return steps.add(
                row, *_PARTS, brought=tuple(one for part in _PARTS for one in handed(part, row)), in_place=True
            )
        return steps.add(row, ENTERING, in_place=True) if self.scales else ENTERING

    def _begin(self, steps: Steps) -> None:
        """What else this GPU does before anything enters."""
        if self.first.fetches:
            fetch(steps, self.block, self.work)
        if self.first.gate_of:
            gate_for_another(steps, self.first.gate_of, self.work)
        elif self.first.leaves:
            steps.leave()

    def _both_at_once(self, steps: Steps, entering: str, before: str) -> str:
        row, found = self._bytes(self.rows), self._attended(steps, entering)
        beside = self._cut(steps, entering)
        result = beside if self.ends_early else self._fed(steps, beside)
        result = steps.add(row, result, self._cut(steps, before), in_place=True)
        return steps.add(row, result, self._cut(steps, self._put_together(steps, found)), in_place=True)

    def _past_one_part(self, steps: Steps, entering: str, before: str) -> str:
        """What went past it is added after it."""
        return self._added(steps, self._cut(steps, self._mixed(steps, entering)()), self._cut(steps, before))

    def _past_mixing(self, steps: Steps, entering: str, before: str) -> str:
        if self.block.attends and self.block.is_recurrent:
            return self._cut(steps, self._attended_and_scanned(steps, entering, before))
        put_together = self._mixed(steps, entering)
        if self.block.past_comes_first:
            past = self._cut(steps, before)
            return self._added(steps, self._cut(steps, put_together()), past)
        result = self._cut(steps, put_together())
        if self._has_norms_after:
            result = self._normed(steps, "post_attention_norm", result, self._bytes(self.rows), in_place=True)
        return self._added(steps, result, self._cut(steps, before))

    def _added(self, steps: Steps, result: str, past: str) -> str:
        """Both in the place of the result, or of what went past it where that comes first or the result is looked at in
        another shape.
        """
        row, block = self._bytes(self.rows), self.block
        if not self.cuts and (block.is_delta_net or block.has("ssm_x") or block.has("shortconv.conv")):
            return steps.add(row, result, past, in_place_of=past)
        return steps.add(row, *((past, result) if block.past_comes_first else (result, past)), in_place=True)

    def _past_feed_forward(self, steps: Steps, past: str) -> str:
        """The layer's result; nothing where it is left to another GPU to add it up."""
        row = self._bytes(self.rows)
        result = self._fed(steps, self._normed(steps, self._norm_before, past, row) if self._norm_before else past)
        if self.fetch is Fetch.THERE and self.block.adds_after_experts:
            steps.leave(past, result)
            return ""
        if self.block.has("post_ffw_norm"):
            result = self._normed(steps, "post_ffw_norm", result, row, in_place=True)
        added = (past, result) if self.block.adds_to_past else (result, past)
        return steps.change(row, steps.add(row, *added, in_place=True), self.block.weight("layer_output_scale"))

    def _mixed(self, steps: Steps, entering: str) -> Callable[[], str]:
        """Attention or a scan; what is returned puts together its results, up to what is added to what went past it."""
        block, work, place = self.block, self.work, self.place
        if block.is_delta_net:
            return partial(delta_net, steps, block, work, entering, place, fused=self.fuses)
        if block.has("shortconv.conv"):
            joined, projected = joined_before_convolution(steps, block, work, entering, place)
            self._fetch_after_mixing(steps)
            return partial(convolved, steps, block, work, joined, projected)
        if block.is_recurrent:
            scan = scanned(steps, block, work, entering, place)
            self._fetch_after_mixing(steps, scan)
            return partial(self._gated, steps, scan)
        found = self._attended(steps, entering)
        self._fetch_after_mixing(steps)
        return partial(self._put_together, steps, found)

    def _attended(self, steps: Steps, entering: str) -> str:
        block, work = self.block, self.work
        if block.is_biased:
            bias_in_ram = self.place is not Place.OWN
            return biased_attention(steps, block, work, entering, n_layer=self.n_layer, bias_in_ram=bias_in_ram)
        if block.latent_rank:
            return latent_attention(steps, block, work, entering, lent=self.place is Place.LENT)
        return attention(steps, block, work, entering, in_ram=self._attends_in_ram)

    def _attended_and_scanned(self, steps: Steps, entering: str, before: str) -> str:
        """Falcon-H1 adds up both; the scan comes before the attention's results are put together."""
        whole = self._bytes(self.work.tokens)
        found = self._attended(steps, entering)
        if self.place is Place.LENT:
            steps.leave()
        else:
            fetch(steps, self.block, self.work)
        scan = scanned(steps, self.block, self.work, self._normed(steps, "attn_norm", before, whole), self.place)
        result = self._put_together(steps, found)
        result = steps.add(whole, result, self._gated(steps, scan), in_place=True)
        return steps.add(whole, result, before, in_place=True)

    def _gated(self, steps: Steps, scan: Scanned) -> str:
        gate_handed = self.fetch is Fetch.THERE and not self.block.has_experts
        return gated(steps, self.block, self.work, scan, place=self.place, gate_handed=gate_handed)

    def _fetch_after_mixing(self, steps: Steps, scan: Scanned | None = None) -> None:
        """Experts do not wait for anything: with them it is they after which the next state is fetched."""
        if not self.block.has_experts:
            self._fetch_ahead(steps, scan)

    def _fetch_ahead(self, steps: Steps, scan: Scanned | None = None) -> None:
        """The state for the next recurrent layer, before this one comes to its end."""
        if self.fetch is Fetch.HERE:
            fetch(steps, self.block, self.work)
        elif self.fetch is Fetch.THERE and scan:
            steps.leave(scan.projected)
        elif self.fetch and not (self.fetch is Fetch.THERE and self.block.adds_after_experts):
            steps.leave()

    @property
    def _attends_in_ram(self) -> bool:
        """The host attends where it stores keys and values before that, and fetches a state after it."""
        scans = self.block.is_recurrent or (self.fetch is Fetch.IN_RAM and not self.block.has_experts)
        return scans and self.place is Place.LENT

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

    def _normed(self, steps: Steps, part: str, entering: str, size: int, *, in_place: bool = False) -> str:
        result = steps.add(size, entering, in_place=in_place)
        return steps.change(size, result, self.block.weight(part), self.block.bias(part))

    def _put_together(self, steps: Steps, found: str) -> str:
        """One result of all heads."""
        size = self._bytes(self.work.tokens)
        if not self.block.latent_rank and not self.block.is_biased and not self.block.gates_heads:
            found = turned_back(steps, self.block, self.work, found)
        if self.block.has("attn_sub_norm"):
            heads = _FLOAT_BYTES * self.work.tokens * self.block.depth("attn_output")
            found = self._normed(steps, "attn_sub_norm", found, heads, in_place=not self.work.flash_attention)
        copy = copy_of_found(self.block, self.work, found)
        result = steps.add(size, found, brought=(*self.block.weight("attn_output"), *copy))
        return steps.change(size, result, self.block.bias("attn_output"))

    def _cut(self, steps: Steps, result: str) -> str:
        if not self.cuts:
            return result
        return steps.add(self._bytes(self.rows), result, brought=self._places_of_results)

    def _fed(self, steps: Steps, entering: str) -> str:
        block, fetch_ahead = self.block, partial(self._fetch_ahead, steps)
        return feed_forward(steps, block, self.routing, entering, self.n_embd, self.rows, after_experts=fetch_ahead)
