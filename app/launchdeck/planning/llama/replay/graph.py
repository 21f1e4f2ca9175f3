"""The sizes that make up a graph's buffers, and what of them one device needs.

A `Role` is asked for; `Graph` answers by the rehearsal of that part where all its steps are known, which is llama.cpp's
number to the byte, and otherwise by closed forms: what is alive at the most crowded moment of a layer, added up, plus
all that stays. They are kept for models that are not known step by step, and for what cannot be rehearsed: T5's bias on
another device, more split inputs than one split may have (`GGML_SCHED_MAX_SPLIT_INPUTS`), a host that does a part of
the work itself.

Source of the order: `graph_reserve` of llama.cpp, which reserves for a full batch with the whole cache in use, and
`ggml_gallocr_reserve_n`; of the four copies in a pipeline: `ggml_backend_sched_new` with `parallel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.blocks import Surroundings
from launchdeck.planning.llama.replay.rehearsal import Part

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.layers.distance_bias import Biased
    from launchdeck.planning.llama.replay.rehearsal import Rehearsal
    from launchdeck.planning.llama.replay.rehearsals import Rehearsals

ALIGNMENT = 128
_HOST_ALIGNMENT = 64
_PIPELINE_COPIES = 4
_TOKEN_BYTES = 4


class Role(NamedTuple):
    """A GPU's part; a tuple, because one is made for each GPU at every tick of the layer slider."""

    blocks: int
    """How many of the model's blocks it has."""
    ends: bool
    """The model's last block is one of them."""
    first: bool
    """It is the first GPU, which works with layers in RAM as well."""
    last: bool
    """It has the output layer."""
    full: bool
    """It works with layers that see everything."""
    window: bool
    """It works with layers that look through a window."""
    pipeline: bool
    """Several GPUs hold the whole model, and work on several batches at once."""
    offloaded_blocks: int
    """Blocks that stay in RAM, and whose operations are offloaded to the first GPU."""
    offloaded_bytes: int
    """The room for a copy of their weights."""
    offloaded_experts_bytes: int = 0
    """The same for experts that stay in RAM while the rest of their block does not."""
    n_cpu_moe: int = 0
    """Of how many first blocks the experts stay in RAM."""
    reused_bytes: int = 0
    """The caches of other devices that its layers read."""


@dataclass(frozen=True, slots=True)
class ByKind:
    """What layers that see everything need, and what such with a window do."""

    full: int
    window: int

    def sum_of(self, role: Role) -> int:
        return self.full * role.full + self.window * role.window

    def max_of(self, role: Role) -> int:
        return max(self.full * role.full, self.window * role.window)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Bytes that a device gets from the one before it, the `first` from the host; the others for each `block` too.

    `output`: what comes to a device with the output layer alone; usually these are but the results.
    """

    first: int
    next: int
    block: int
    output: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The sizes that make up the buffers, in bytes; all devices' buffers follow from them.

    They are the closed forms: upper bounds of what is alive at once, for layers whose steps are not known. Where they
    are, `rehearsals` has the number that llama.cpp's own allocator comes to, and most of these are not asked.
    """

    row: int
    """One number for each token and each of the model's dimensions."""
    inputs: int
    """The tokens' positions, and what rotates a quantised cache."""
    seen: ByKind
    """Places in the cache, and masks."""
    feed_forward: int
    """The most that is alive at once within this part of a layer."""
    product: int
    """A piece of that which comes late."""
    attention: int
    """The most that is alive at once within this part of a layer."""
    scratch: ByKind
    """What attention needs besides."""
    offloaded_cache: int
    """A copy of a layer's cache."""
    output: int
    """The results, logits among them."""
    layer_embeddings: int
    """Embeddings for each layer, which only the device with the first layers keeps."""
    host_only: int
    """The tokens' numbers."""
    outputs: int
    """How many tokens give results."""
    logits: int
    """What of the output an encoder does not give."""
    norms_output: bool
    """There is a norm with weights before the output."""
    keeps_two_keys: bool
    """The next layer's keys never find a place in what the last ones left; narrower ones sometimes do: half counts."""
    crossing: Crossing
    biased: Biased
    whole: Role
    rehearsals: Rehearsals
    keeps_norm: bool
    """What the last norm makes of all tokens is kept for what predicts further ones."""

    def gpu_bytes(self, role: Role) -> int:
        """Add up the bytes on one GPU. The first has some even without layers: those in RAM are offloaded to it."""
        output = self.output if role.last else 0
        rehearsal = self._rehearsal_of(role)
        if rehearsal:
            kept, most = rehearsal.room(self._part(role))
            if role.pipeline:
                kept += _PIPELINE_COPIES * self._copied_for_bias(role)
            return kept + max(most, output)
        if not role.blocks and not role.first:
            return self._output_alone(role)
        inputs = self.inputs + self.seen.full * role.full + self.seen.window * role.window
        inputs += self._results_bytes if role.last else 0
        if role.pipeline:
            copied = inputs + role.reused_bytes + self._entering(role) + self._copied_for_bias(role)
            own = self._own_layer(role) + self.layer_embeddings * role.first
            return _PIPELINE_COPIES * copied + max(own, output)
        inputs += role.reused_bytes
        if role.first:
            layer = self._offloaded_layer(role) if role.offloaded_blocks else self._layer(role)
            if role.offloaded_experts_bytes:
                layer = max(layer, self.feed_forward + self.row + role.offloaded_experts_bytes)
            return max(inputs + layer + self.layer_embeddings, output)
        return max(inputs + self._own_layer(role) - self.row * (role.blocks > 1 or not role.ends), output)

    @property
    def _results_bytes(self) -> int:
        """Where in a batch the results are."""
        return padded(_TOKEN_BYTES * self.outputs, ALIGNMENT)

    def _rehearsal_of(self, role: Role) -> Rehearsal | None:
        """None where T5's bias is looked up for others outside of a pipeline, where the host works with a part of what
        is in RAM, or where more copies are needed than can be made at once.
        """
        if not (role.blocks or role.first):
            return None
        shared = self.biased.is_shared
        if shared and not (role.pipeline or role.offloaded_blocks or role.ends):
            return None
        surroundings = Surroundings(
            own_from=role.offloaded_blocks,
            is_first=role.first,
            gives_results=role.last or not role.ends,
            fuses=not role.offloaded_blocks if role.first else role.pipeline or role.n_cpu_moe > 0,
            bias_is_elsewhere=shared and role.pipeline and role.offloaded_blocks > 0,
        )
        rehearsal = self.rehearsals.of(surroundings)
        if rehearsal is None or (role.first and role.offloaded_blocks and not rehearsal.offloads):
            return None
        return rehearsal if rehearsal.fits(self._part(role)) else None

    def _copied_for_bias(self, role: Role) -> int:
        """Bytes that go to the GPU with the first block, which looks up T5's bias, for all others; or come from it."""
        if not role.blocks or not self.biased.is_shared:
            return 0
        if role.offloaded_blocks:
            return role.blocks * self.biased.copied_back
        late = max(role.blocks - self.biased.blocks_at_once, 0)
        return late * self.biased.buckets + (self.whole.blocks - role.blocks) * self.biased.copied_there

    def _output_alone(self, role: Role) -> int:
        """Bytes on a GPU without layers: with nothing at all, or with what turns the last one's result into tokens.

        Where there are no tokens to be made of it, a norm's weights are worked into its copy, if there are any.
        """
        if not role.last:
            return 0
        if not self.logits and (not self.norms_output or not role.pipeline):
            return self.row if self.norms_output else 0
        entering = self.crossing.output
        if self.keeps_norm:
            copied = entering + self._results_bytes
            return (_PIPELINE_COPIES * copied + entering if role.pipeline else copied) + self.output
        if role.pipeline:
            return _PIPELINE_COPIES * entering + max(entering, self.output)
        return max(2 * entering, self.output) if entering >= self.row else self.output

    def _part(self, role: Role) -> Part:
        offloaded = min(role.offloaded_blocks, self.whole.blocks)
        begin, end = 0 if role.first else offloaded, offloaded + role.blocks
        logits = self.logits if role.last else 0
        if self.biased.is_shared and offloaded and not role.pipeline:  # the bias is looked up in RAM for all layers
            return Part(begin, offloaded, end, end, logits_bytes=logits)
        return Part(begin, offloaded, end, role.n_cpu_moe * role.first, role.pipeline, logits)

    def _entering(self, role: Role) -> int:
        if role.first:
            return self.crossing.first
        return self.crossing.next + role.blocks * self.crossing.block

    def _own_layer(self, role: Role) -> int:
        """After its attention the last block goes on with the results alone, usually."""
        alone = role.ends and role.blocks == 1 and self.crossing.output < self.row
        return self._attention(role) if alone else self._layer(role)

    def _layer(self, role: Role) -> int:
        return max(self.feed_forward, self._attention(role))

    def _attention(self, role: Role) -> int:
        return self.attention + self.scratch.max_of(role)

    def _offloaded_layer(self, role: Role) -> int:
        """The most that is alive within one of the host's layers, with a copy of its weights or of its cache.

        What the first layer's cache leaves free is used again, but a weight that is larger comes behind it.
        """
        left, beside = self.offloaded_cache + 3 * self.row, self.feed_forward - self.product
        if role.offloaded_bytes > left:
            feed_forward = max(left, beside) + min(left, beside) // 3 + role.offloaded_bytes
        else:  # half of it fits into gaps: an average
            feed_forward = self.feed_forward + self.row + role.offloaded_bytes // 2
        return max(feed_forward, self._offloaded_caches(role) + self._attention(role) + self.row)

    def _offloaded_caches(self, role: Role) -> int:
        keys = self.offloaded_cache // 2
        if role.offloaded_blocks > 1 and self.keeps_two_keys and keys > self._layer(role):
            return 3 * keys
        if role.offloaded_blocks > 1 and not self.keeps_two_keys and keys > 4 * self.row:
            return 2 * keys + keys // 2
        return 2 * keys

    def host_bytes(self, *, pipeline: bool) -> int:
        """Add up the host's buffer beside GPUs: the inputs, and the embeddings on their way in and out."""
        own = 2 * self.row + self.host_only + self.biased.host
        return own + self._host_inputs * (_PIPELINE_COPIES if pipeline else 1)

    @property
    def host_working_bytes(self) -> int:
        """Bytes of the host's buffer where it works with the layers that it holds, and others with the output."""
        return self._host_inputs + self.host_only + self._layer(self.whole) + self.layer_embeddings + self.row

    def host_alone_bytes(self) -> int:
        """Add up the host's buffer without any GPU."""
        return max(self.host_working_bytes, self.output + self.row)

    @property
    def _host_inputs(self) -> int:
        return self.inputs + self.seen.sum_of(self.whole) + padded(_TOKEN_BYTES * self.outputs, _HOST_ALIGNMENT)


def padded(size: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-size // multiple) * multiple
