"""The peak of a GPU's compute buffer: all that is put there is played through, in its order.

Source: `ggml_gallocr_alloc_graph_impl` of ggml, which walks through the nodes once, gives each a place, and frees its
parents when their last child has one; and `ggml_backend_sched_alloc_splits` for the order of the copies.

Why it is done in states: the peak of n layers is that of a walk over n layers, and the slider asks for every n. Between
two layers all that matters is a `_State`: the gaps, where the last result lies, and which inputs are still there. The
same layer begun in the same state always ends in the same one (`_played`), and after the first few layers the states
repeat themselves. What offloaded layers come to does not depend on how many follow (`_offloaded`), and the rest of
a part is looked up from its end (`_rests`). A walk is thus a few look-ups, and not some thousands of allocations.

Layers that stay in RAM are worked with on the first GPU: llama.cpp copies their weights and caches to it, split by
split, and reuses the room of what is done with.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.allocator import EMPTY, BestFit
from launchdeck.planning.llama.replay.contradiction import disjointed
from launchdeck.planning.llama.replay.program import STAY, Begin, Fetch, Place, Setting
from launchdeck.planning.llama.replay.steps import AHEAD, ENTERING, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from launchdeck.planning.llama.replay.allocator import Gaps
    from launchdeck.planning.llama.replay.program import Program, Split
    from launchdeck.planning.llama.replay.steps import SplitInput

    # The state before a layer, this layer, and what matters of its part to it and those after it.
    _Rest = tuple["_State", int, int, int, bool, int]

_PIPELINE_COPIES = 4
# GGML_SCHED_MAX_SPLIT_INPUTS; the last layer's result and its norm, or a weight, are among them.
_MOST_INPUTS = 30
_INPUTS_BESIDES = 2
_NOTHING = frozenset[str]()


class Part(NamedTuple):
    """A GPU's part of a graph."""

    begin: int
    """Its first layer; 0 for the first GPU, which works with offloaded layers as well."""
    offloaded: int
    """Layers before this one are in RAM."""
    end: int
    """The layer after its last."""
    n_cpu_moe: int = 0
    """Of layers before this one the experts are in RAM."""
    pipeline: bool = False
    """Several batches are worked with at once (pipeline parallelism), with copies of all split inputs."""
    logits_bytes: int = 0
    """What is made of the last layer's result, after a norm that takes its place."""


class _State(NamedTuple):
    """Between two layers: the gaps, the place of the result (None: nothing has begun yet), that of a state fetched
    ahead, and the names, offsets and sizes of the inputs that are there.
    """

    gaps: Gaps
    result: tuple[int, int] | None
    ahead: tuple[int, int] | None
    inputs: tuple[tuple[str, int, int], ...]


_BEGINNING = _State(EMPTY, None, None, ())


class _Move(NamedTuple):
    """A layer, what the next one needs before it begins, and the inputs that nobody needs after this one."""

    program: Program
    after: tuple[SplitInput, ...]
    expiring: frozenset[str]


class _Layers:
    """The programs of all layers in one place, and for every input the layers that read it."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = programs
        self._readers: dict[str, list[int]] = {}
        self._heads: dict[SplitInput, list[tuple[int, int]]] = {}
        for layer, program in enumerate(programs):
            for name in program.inputs:
                self._readers.setdefault(name, []).append(layer)
            for place, one in enumerate(program.splits[0].inputs):
                self._heads.setdefault(one, []).append((layer, place))

    def last_readers(self, begin: int, end: int) -> dict[str, int]:
        """Find for every input that these layers read the last that does."""
        found = ((name, readers, bisect_left(readers, end)) for name, readers in self._readers.items())
        return {name: readers[place - 1] for name, readers, place in found if place and readers[place - 1] >= begin}

    def needed(self, begin: int, end: int) -> tuple[SplitInput, ...]:
        """Find what the first splits of these layers read, in the order in which they do."""
        found = ((one, layers, bisect_left(layers, (begin, 0))) for one, layers in self._heads.items())
        firsts = ((layers[place], one) for one, layers, place in found if place < len(layers))
        return tuple(one for (layer, _), one in sorted(firsts) if layer < end)


class Rehearsal:
    """Peaks for one model and one kind of work; everything that was played once is kept.

    `program(layer, setting)` is a layer's program, the same object for layers that are alike.
    `targets` has for every layer the recurrent one whose state is fetched within it, None where that happens in none;
    `first_targets` the same for what its GPU does before it where it is the first one. `offloads`: whether layers in
    RAM are known as well, which they are not where the host does a part of their matrices.
    """

    def __init__(
        self,
        program: Callable[[int, Setting], Program],
        targets: Sequence[int | None],
        first_targets: Sequence[int | None],
        *,
        offloads: bool,
    ) -> None:
        self.offloads = offloads
        self._n_layer = len(targets)
        self._program = program
        self._targets = targets
        self._first_targets = first_targets
        self._fetches = any(target is not None for target in first_targets)
        self._layers: dict[tuple[Place, Begin], _Layers] = {}
        self._offloaded: list[tuple[_State, int]] = [(_BEGINNING, 0)]
        self._played: dict[tuple[_State, _Move], tuple[_State, int]] = {}
        self._rests: dict[_Rest, int] = {}
        self._fits: dict[Part, bool] = {}
        self._rooms: dict[Part, tuple[int, int]] = {}

    def fits(self, part: Part) -> bool:
        """Tell whether all copies of what is on other devices are made at once: otherwise splits begin in between."""
        fits = self._fits.get(part)
        if fits is None:
            needed = () if part.pipeline else self._at(Place.OWN).needed(max(part.begin, part.offloaded), part.end)
            has_copies = any(one.kind is Kind.KEPT_COPY for one in needed)
            fits = self._fits[part] = not has_copies or len(needed) + _INPUTS_BESIDES <= _MOST_INPUTS
        return fits

    def room(self, part: Part) -> tuple[int, int]:
        """Add up what a GPU with at least one layer keeps, in bytes, and the most that it needs besides."""
        room = self._rooms.get(part)
        if room is None:
            room = self._rooms[part] = (self._kept_bytes(part), self._peak(part))
        return room

    def _kept_bytes(self, part: Part) -> int:
        """In a pipeline all that is copied to the GPU is there several times, and stays."""
        if not part.pipeline:
            return 0
        if not self._fetches:
            needed = self._at(Place.OWN).needed(part.begin, part.end)
            return _PIPELINE_COPIES * (self._first_program(part).entering_bytes + sum(one.size for one in needed))
        programs = self._programs(part)
        inputs = {name: size for program in programs for name, size in program.inputs.items()}
        copied_bytes = sum(program.copied_bytes for program in programs)
        return _PIPELINE_COPIES * (programs[0].entering_bytes + copied_bytes + sum(inputs.values()))

    def _programs(self, part: Part) -> list[Program]:
        """Those of all its layers."""
        others = [self._program_in(part, layer) for layer in range(part.begin + 1, part.end)]
        return [self._first_program(part), *others]

    def _peak(self, part: Part) -> int:
        """Play the part. Offloaded layers do not depend on what comes after them, but for the last one and those after
        which an input that others read as well is needed no more.
        """
        expiring = {} if part.pipeline else self._expiring(part)
        shared = max(min(self._last_of_offloaded(part), *expiring, part.end), 0) if not part.begin else part.begin
        state, peak = self._after_offloaded(shared) if not part.begin else (_BEGINNING, 0)
        played: list[tuple[_Rest | None, int]] = []
        for layer in range(shared, part.end):
            experts = max(part.n_cpu_moe - layer, 0)
            own = layer >= part.offloaded and layer > part.begin
            key = (state, layer, part.end, experts, part.pipeline, part.logits_bytes) if own else None
            known = self._rests.get(key) if key else None
            if known is not None:
                played.append((None, known))
                break
            state, reached = self._play(state, self._move(layer, part, expiring.get(layer, _NOTHING)))
            played.append((key, reached))
        else:
            played.append((None, _Gpu(state).peak_with(part.logits_bytes)))
        rest = 0
        for key, reached in reversed(played):
            rest = max(rest, reached)
            if key:
                self._rests[key] = rest
        return max(peak, rest)

    def _after_offloaded(self, count: int) -> tuple[_State, int]:
        """The state after so many offloaded layers, with more to follow, and the peak until then."""
        part = Part(0, self._n_layer, self._n_layer)
        while len(self._offloaded) <= count:
            state, peak = self._offloaded[-1]
            state, reached = self._play(state, self._move(len(self._offloaded) - 1, part, _NOTHING))
            self._offloaded.append((state, max(peak, reached)))
        return self._offloaded[count]

    def _move(self, layer: int, part: Part, expiring: frozenset[str]) -> _Move:
        begins = layer == part.begin
        program = self._first_program(part) if begins else self._program_in(part, layer)
        brings = not part.pipeline and (begins or len(program.splits) > 1)
        return _Move(program, self._needed_by(layer + 1, part) if brings else (), expiring)

    def _first_program(self, part: Part) -> Program:
        place = _place(part, part.begin)
        if part.pipeline:
            begin = Begin.KEPT_COPIED if part.begin else Begin.KEPT_EMBEDDED
        else:
            begin = Begin.COPIED if part.begin else Begin.EMBEDDED
        target = self._first_targets[part.begin]
        fetches = target is not None and part.offloaded <= target < part.end
        return self._program(part.begin, Setting(place, begin, self._fetch(part, part.begin), fetches))

    def _program_in(self, part: Part, layer: int) -> Program:
        """That of a layer which is not the first one."""
        place = _place(part, layer)
        fetch, begin = self._fetch(part, layer), Begin.KEPT_NOT if part.pipeline else Begin.NOT
        if fetch is None:
            return self._at(place, begin).programs[layer]
        return self._program(layer, Setting(place, begin, fetch))

    def _fetch(self, part: Part, layer: int) -> Fetch | None:
        target = self._targets[layer]
        if target is None:
            return None
        if target < part.offloaded:
            return Fetch.IN_RAM
        return Fetch.HERE if target < part.end else Fetch.THERE

    def _fetcher(self, layer: int) -> int | None:
        """The one before this layer that fetches the state of this or a later one."""
        return next((index for index in range(layer - 1, -1, -1) if (self._targets[index] or 0) >= layer), None)

    def _last_of_offloaded(self, part: Part) -> int:
        """The first offloaded layer that depends on what comes after these."""
        if (self._first_targets[0] or 0) >= part.offloaded:
            return 0
        fetcher = self._fetcher(part.offloaded)
        return part.offloaded - 1 if fetcher is None else fetcher

    def _at(self, place: Place, begin: Begin = Begin.NOT) -> _Layers:
        layers = self._layers.get((place, begin))
        if layers is None:
            programs = [self._program(layer, Setting(place, begin)) for layer in range(self._n_layer)]
            layers = self._layers[place, begin] = _Layers(programs)
        return layers

    def _needed_by(self, layer: int, part: Part) -> tuple[SplitInput, ...]:
        """What has to be there before this layer begins: for its first split, and where that is all, for the next."""
        if layer < part.offloaded:
            return self._at(Place.OFFLOADED).needed(layer, layer + 1)
        needed: dict[SplitInput, None] = {}
        while layer < min(part.n_cpu_moe, part.end):
            layers = self._at(Place.EXPERTS_OFFLOADED)
            needed.update(dict.fromkeys(layers.needed(layer, layer + 1)))
            if len(layers.programs[layer].splits) > 1:
                return tuple(needed)
            layer += 1
        if not self._fetches:
            needed.update(dict.fromkeys(self._at(Place.OWN).needed(layer, part.end)))
        else:
            programs = (self._program_in(part, following) for following in range(layer, part.end))
            needed.update(dict.fromkeys(one for program in programs for one in program.splits[0].inputs))
        return tuple(needed)

    def _expiring(self, part: Part) -> dict[int, frozenset[str]]:
        """For the layers where it is so, the inputs that no later one reads."""
        if self._fetches:  # who reads what depends on where the next layer is
            programs = enumerate(self._programs(part), part.begin)
            last_readers = {name: layer for layer, program in programs for name in program.inputs}
        else:
            offloaded = part.offloaded > part.begin
            last_readers = self._at(Place.OFFLOADED).last_readers(part.begin, part.offloaded) if offloaded else {}
            last_readers |= self._at(Place.OWN).last_readers(part.offloaded, part.end)
        return {
            layer: frozenset(name for name, last in last_readers.items() if last == layer)
            for layer in {*last_readers.values()}
        }

    def _play(self, state: _State, move: _Move) -> tuple[_State, int]:
        played = self._played.get((state, move))
        if played is None:
            try:
                played = self._played[state, move] = _Gpu(state).play(move)
            except KeyError as missing:  # a result that is read and was not made
                raise disjointed() from missing
        return played


def _place(part: Part, layer: int) -> Place:
    if layer < part.offloaded:
        return Place.OFFLOADED
    return Place.EXPERTS_OFFLOADED if layer < part.n_cpu_moe else Place.OWN


class _Gpu:
    """The room of one GPU while it works with a layer."""

    def __init__(self, state: _State) -> None:
        self._pool = BestFit(state.gaps)
        self._begins = state.result is None
        self._alive = {} if state.result is None else {ENTERING: state.result}
        if state.ahead is not None:
            self._alive[AHEAD] = state.ahead
        self._inputs = {name: (offset, size) for name, offset, size in state.inputs}

    def play(self, move: _Move) -> tuple[_State, int]:
        """Take and give back room as the layer does; the state after it, and the peak."""
        splits, program = move.program.splits, move.program
        for split in splits:
            if self._begins or split is not splits[0]:
                self._bring(split.inputs)
            if split is splits[-1]:
                self._bring(move.after)
            self._act(split, move.expiring)
        inputs = tuple((name, *place) for name, place in self._inputs.items())
        state = _State(self._pool.state, self._alive.get(program.result), self._alive.get(AHEAD), inputs)
        return state, self._pool.peak_bytes

    def peak_with(self, size: int) -> int:
        """Give the peak if something of this size is made of the layer's result."""
        self._pool.take(size)
        return self._pool.peak_bytes

    def _bring(self, inputs: Iterable[SplitInput]) -> None:
        for one in inputs:
            copies = self._inputs if one.kind in STAY else self._alive
            if one.name not in copies:
                copies[one.name] = (self._pool.take(one.size), one.size)

    def _act(self, split: Split, expiring: frozenset[str]) -> None:
        for name, size, place_of, done, inputs, stays in split.actions:
            if place_of is not None:
                self._alive[name] = self._alive.pop(place_of)
            elif name:
                (self._inputs if stays else self._alive)[name] = (self._pool.take(size), size)
            for one in done:
                self._pool.give_back(*self._alive.pop(one))
            for one in inputs:
                if one in expiring:
                    self._pool.give_back(*self._inputs.pop(one))
