"""Which blocks of a model are alike, and how the first GPU works with those that stay in RAM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.attention import reused_layers
from launchdeck.planning.llama.replay.allocator import aligned
from launchdeck.planning.llama.replay.contradiction import misshapen
from launchdeck.planning.llama.replay.known_blocks import INDEXER, is_known
from launchdeck.planning.llama.replay.layer import First, Layer
from launchdeck.planning.llama.replay.layers.whole_layer import layer_steps
from launchdeck.planning.llama.replay.program import Place, Program, Setting
from launchdeck.planning.llama.replay.read_blocks import read_blocks, read_routing
from launchdeck.planning.llama.replay.rehearsal import Rehearsal
from launchdeck.planning.llama.replay.steps import ENTERING, LAYER_EMBEDDINGS

if TYPE_CHECKING:
    from launchdeck.planning.llama.hyperparameters import Hyperparameters
    from launchdeck.planning.llama.kv import KvCache
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.work import Work

# A matrix in RAM is worked with on the GPU where it serves so many tokens at once. Source: `offload_op` of ggml's CUDA
# backend (GGML_OP_OFFLOAD_MIN_BATCH).
_LEAST_TOKENS = 32
# llama.cpp tries operations that do much at once with 16 tokens of each sequence.
_LEAST_SEQUENCES_APART = _LEAST_TOKENS // 16
_FLOAT_BYTES = 4


class Surroundings(NamedTuple):
    """What a GPU's steps depend on besides its own layers.

    Caches of layers before `own_from` are on other devices, and so are embeddings for each layer if this is not the
    first GPU. A model that cuts late `gives_results` after its last block, or leaves that to another GPU.
    With `fuses` what can be is done as one, as llama.cpp does where no layer that this is tried with is in RAM.
    `bias_is_elsewhere`: T5's, on the GPU that has the first block (see `layers/biased_attention.py`).
    """

    own_from: int = 0
    is_first: bool = True
    gives_results: bool = True
    fuses: bool = True
    bias_is_elsewhere: bool = False


class Blocks:
    """The blocks of one model: those that are `alike`, and for every layer which of them it is."""

    def __init__(self, hp: Hyperparameters, cache: KvCache, *, cuts_late: bool) -> None:
        self._hp = hp
        self._cuts_late = cuts_late
        self._routing = read_routing(hp)
        self._added = _added_to_embeddings(hp)
        self._scales = hp.traits.scales_embeddings or bool(hp.get("embedding_scale"))
        blocks = [_signed(block) for block in read_blocks(hp, cache)]
        alike = dict(blocks)
        places = {signature: place for place, signature in enumerate(alike)}
        self._alike = [*alike.values()]
        self._which = [places[signature] for signature, _ in blocks]
        known = (is_known(block, hp.traits) for block in self._alike)
        self._is_known = bool(blocks) and hp.traits.replayed and all(known)
        self._reused = reused_layers(hp)[: len(self._which)]
        self._is_indexed = any(block.has(part) for block in self._alike for part in INDEXER)
        self._goes_by_sequences = any(block.has("ssm_x") or block.has("shortconv.conv") for block in self._alike)
        self._targets, self._first_targets = self._fetched()

    @property
    def reused(self) -> tuple[int, ...]:
        """The layers whose caches others read as well."""
        return tuple(sorted({source for layer, source in enumerate(self._reused) if layer != source}))

    @property
    def embeds_each(self) -> bool:
        """Whether the first layer makes embeddings for all of them."""
        return any(block.has("inp_gate") for block in self._alike)

    @property
    def has_delta_nets(self) -> bool:
        """Whether there is something that may be done as one operation, or not."""
        return any(block.is_delta_net for block in self._alike)

    def rehearsal(self, work: Work, surroundings: Surroundings) -> Rehearsal | None:
        """Make the rehearsal of these blocks; None where their steps are not known, or too few tokens for offloading.

        Some recurrent layers go sequence by sequence: there it is the tokens of each that are too few to be offloaded.
        """
        if not self._is_known or work.tokens < _LEAST_TOKENS or (self._is_indexed and work.cells.streams > 1):
            return None
        programs: dict[tuple[object, ...], Program] = {}

        def program(layer: int, setting: Setting) -> Program:
            block, place = self._alike[self._which[layer]], setting.place
            is_copied = (
                block.reuses_cache and self._reused[layer] < surroundings.own_from and place is not Place.OFFLOADED
            )
            cache = f" for {layer}" if is_copied else ""
            embedding = f" for {layer}" if block.has("inp_gate") and not surroundings.is_first else ""
            differs = setting.fetches_first or (block.is_biased and place is Place.OWN)
            last = layer == len(self._which) - 1
            key = (self._which[layer], last, setting, cache, embedding, layer if differs else None)
            if key not in programs:
                block = replace(block, cache_copy=cache, embedding_copy=embedding)
                programs[key] = self._program(layer, block, work, setting, surroundings)
            return programs[key]

        offloads = not self._goes_by_sequences or work.tokens // work.cells.sequences >= _LEAST_TOKENS
        return Rehearsal(program, self._targets, self._first_targets, offloads=offloads)

    def _fetched(self) -> tuple[list[int | None], list[int | None]]:
        """For every layer the one whose state is fetched within it, and before it where its GPU begins with it.

        Layers that only feed forward are put off until the next one mixes; so the state is fetched before them.
        """
        within: list[int | None] = []
        before: list[int | None] = []
        following: int | None = None
        for layer, which in reversed([*enumerate(self._which)]):
            block = self._alike[which]
            mixes = block.mixes
            within.append(following if mixes else None)
            if mixes:
                fetches = block.keeps_state and not block.attends and not block.is_delta_net
                following = layer if fetches else None
            before.append(following)
        return within[::-1], before[::-1]

    def _first(self, layer: int) -> First:
        """What a GPU that begins with this layer does while another one has not come to the end of the layer before."""
        before = (self._alike[which] for which in self._which[:layer][::-1])
        mixing = next((block for block in before if block.mixes), None)
        makes_gate = mixing is not None and mixing.is_recurrent and not mixing.has_experts
        adds_up = mixing is not None and mixing.adds_after_experts
        ends_split = layer > 0 and not adds_up
        return First(fetches=True, ends_split=ends_split, gate_of=mixing if makes_gate else None, adds_up=adds_up)

    def _program(self, layer: int, block: Block, work: Work, setting: Setting, surroundings: Surroundings) -> Program:
        last, place, begin = layer == len(self._which) - 1, setting.place, setting.begin
        cuts = last and not self._cuts_late
        rows = work.outputs if cuts else work.tokens
        made = Layer(
            block,
            self._routing,
            work,
            n_embd=self._hp.n_embd,
            index=layer,
            place=place,
            rows=rows,
            cuts=cuts,
            ends_early=cuts and place is Place.OFFLOADED and rows < _LEAST_TOKENS,
            gives_results=last and self._cuts_late and surroundings.gives_results and work.outputs < work.tokens,
            scales=begin.is_embedded and self._scales,
            added=tuple(self._added) if begin.is_embedded else None,
            bias_is_elsewhere=surroundings.bias_is_elsewhere,
            fetch=setting.fetch,
            fuses=surroundings.fuses or work.cells.sequences < _LEAST_SEQUENCES_APART,
            first=self._first(layer) if setting.fetches_first else First(),
        )
        row = _FLOAT_BYTES * work.tokens
        entering = {ENTERING: aligned(row * self._hp.n_embd)}
        if begin.is_embedded:  # what is added to the embeddings is copied as well
            entering |= {name: aligned(size or entering[ENTERING]) for name, size in self._added.items()}
        if block.has("per_layer_model_proj"):
            entering[LAYER_EMBEDDINGS] = aligned(row * block.width("per_layer_model_proj"))
        return Program.of(layer_steps(made), place, begin, entering)


def _added_to_embeddings(hp: Hyperparameters) -> dict[str, int]:
    """Bytes for the first kind of token, which is the same for all, and 0 for positions, as many as for embeddings."""
    tensors = {tensor.name: tensor for tensor in hp.header.tensors}
    kinds = tensors.get("token_types.weight")
    if kinds and len(kinds.shape) < 2:
        raise misshapen(kinds.name)
    added = {"kinds": kinds.n_bytes // kinds.shape[1]} if kinds else {}
    return added | ({"positions": 0} if "position_embd.weight" in tensors else {})


def _signed(block: Block) -> tuple[object, Block]:
    """With what tells it from blocks that need other room."""
    parts = tuple((name, tensor.n_bytes, tensor.shape) for name, tensor in block.tensors.items())
    attention = (
        block.n_head,
        block.key_row,
        block.value_row,
        block.in_window,
        block.rotates,
        block.shared_factors,
        block.reuses_cache,
    )
    return (parts, attention), block
