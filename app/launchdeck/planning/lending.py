"""What the first GPU needs to work with layers that stay in RAM.

llama.cpp copies their weights and caches to it, piece by piece, and reuses the room of what is done with. How much that
takes follows from the order of all that: it is played through here, as its scheduler and its allocator do it.

Source: `ggml_backend_sched_split_graph` (a weight in RAM begins a new piece of the graph, and all that a piece needs is
copied before it begins) and `ggml_gallocr_alloc_graph_impl` of llama.cpp b10605.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.allocator import BestFit
from launchdeck.planning.steps import ENTERING, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from launchdeck.planning.allocator import Gaps
    from launchdeck.planning.steps import Brought, Step

_IN_RAM = {
    "own": frozenset({Kind.INPUT}),
    "experts lent": frozenset({Kind.INPUT, Kind.EXPERTS}),
    "lent": frozenset(Kind),
}
_BEGIN_A_PIECE = frozenset({Kind.WEIGHT, Kind.EXPERTS, Kind.SHARED})
_STAY = frozenset({Kind.INPUT, Kind.SHARED})


class _Action(NamedTuple):
    """A result, the one whose place it takes (None: a new one), what is done with after it, and the inputs that the
    layer reads for the last time.
    """

    name: str
    size: int
    place_of: str | None
    done: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is copied before it begins, and what it does."""

    brought: tuple[Brought, ...]
    actions: tuple[_Action, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A layer in pieces. The first goes on with the last one of the layer before, which brings what it needs."""

    pieces: tuple[_Piece, ...]
    result: str
    inputs: frozenset[str]

    @classmethod
    def of(cls, steps: Sequence[Step], place: str) -> Program:
        """`place`: whether the layer is the GPU's "own", "lent", or its own but with "experts lent"."""
        in_ram, last_read = _IN_RAM[place], {name: step for step in steps for name in step.reads}
        last_input = {one.name: step for step in steps for one in step.brought if one.kind in _STAY}
        pieces: list[tuple[list[Brought], list[_Action]]] = [([], [])]
        leaves_gpu, inputs = False, set[str]()
        for step in steps:
            stores_there = step.stores and place == "lent"
            brought = [one for one in step.brought if one.kind in in_ram and not stores_there]
            if not step.stores and (leaves_gpu or any(one.kind in _BEGIN_A_PIECE for one in brought)):
                pieces.append(([], []))
                leaves_gpu = False
            leaves_gpu = leaves_gpu or stores_there
            pieces[-1][0].extend(brought)
            done = [name for name in dict.fromkeys(step.reads) if last_read[name] is step]
            place_of = done.pop(0) if step.in_place and done else None
            copies = (one.name for one in brought if one.kind not in _STAY)
            kept = [one.name for one in brought if one.kind in _STAY]
            inputs.update(kept)
            read = tuple(name for name in kept if last_input[name] is step)
            pieces[-1][1].append(_Action(step.name, step.size, place_of, (*done, *copies), read))
        return cls(tuple(_Piece(tuple(b), tuple(a)) for b, a in pieces), steps[-1].name, frozenset(inputs))


class _State(NamedTuple):
    """Between two layers: the gaps, what is behind them, the place of the result (None: nothing has begun yet), and
    the names, offsets and sizes of the inputs that are there.
    """

    gaps: Gaps
    end: int
    result: tuple[int, int] | None
    inputs: tuple[tuple[str, int, int], ...]


_BEGINNING = _State((), 0, None, ())
_NOTHING = frozenset[str]()
_Places = tuple[int, int, int]


class _Move(NamedTuple):
    """A layer, what has to be there before it begins (the first one alone has to see to that itself), what the next
    one needs before it begins, and the inputs that nobody needs after this one.
    """

    program: Program
    before: tuple[Brought, ...]
    after: tuple[Brought, ...]
    expiring: frozenset[str]


class _Layers:
    """The programs of all layers in one place, and for every input the layers that read it."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = programs
        self._readers: dict[str, list[int]] = {}
        self._heads: dict[Brought, list[tuple[int, int]]] = {}
        for layer, program in enumerate(programs):
            for name in program.inputs:
                self._readers.setdefault(name, []).append(layer)
            for place, one in enumerate(program.pieces[0].brought):
                self._heads.setdefault(one, []).append((layer, place))

    def last_readers(self, begin: int, end: int) -> dict[str, int]:
        """For every input that these layers read, the last that does."""
        found = ((name, readers, bisect_left(readers, end)) for name, readers in self._readers.items())
        return {name: readers[place - 1] for name, readers, place in found if place and readers[place - 1] >= begin}

    def needed(self, begin: int, end: int) -> tuple[Brought, ...]:
        """What the first pieces of these layers read, in the order in which they do."""
        found = ((one, layers, bisect_left(layers, (begin, 0))) for one, layers in self._heads.items())
        firsts = ((layers[place], one) for one, layers, place in found if place < len(layers))
        return tuple(one for (layer, _), one in sorted(firsts) if layer < end)


class Lending:
    """Peaks for one model and one kind of work; everything that was played once is kept.

    `program(layer, place)` is a layer's program, the same object for layers that are alike.
    """

    def __init__(self, entering_bytes: int, n_layer: int, program: Callable[[int, str], Program]) -> None:
        self._entering_bytes = entering_bytes
        self._n_layer = n_layer
        self._program = program
        self._layers: dict[str, _Layers] = {}
        self._lent: list[tuple[_State, int]] = [(_BEGINNING, 0)]
        self._played: dict[tuple[_State, _Move], tuple[_State, int]] = {}
        self._rests: dict[tuple[_State, int, int, int], int] = {}
        self._peaks: dict[_Places, int] = {}

    def peak_bytes(self, lent: int, end: int, n_cpu_moe: int) -> int:
        """The GPU works with all layers before `end`: the first `lent` are in RAM, and the experts of `n_cpu_moe`."""
        key = (lent, end, n_cpu_moe)
        peak = self._peaks.get(key)
        if peak is None:
            peak = self._peaks[key] = self._peak((lent, end, min(max(n_cpu_moe, lent), end)))
        return peak

    def _peak(self, places: _Places) -> int:
        """Lent layers do not depend on what comes after them, but the last one, and those after which an input that
        others read as well is needed no more.
        """
        lent, end, n_cpu_moe = places
        expiring = self._expiring(places)
        shared = max(min(lent - 1, *expiring, end), 0)
        state, peak = self._after_lent(shared)
        played: list[tuple[tuple[_State, int, int, int] | None, int]] = []
        for layer in range(shared, end):
            key = (state, layer, end, max(n_cpu_moe - layer, 0)) if layer >= lent else None
            known = self._rests.get(key) if key else None
            if known is not None:
                played.append((None, known))
                break
            state, reached = self._play(state, self._move(layer, places, expiring.get(layer, _NOTHING)))
            played.append((key, reached))
        rest = 0
        for key, reached in reversed(played):
            rest = max(rest, reached)
            if key:
                self._rests[key] = rest
        return max(peak, rest)

    def _after_lent(self, count: int) -> tuple[_State, int]:
        """The state after so many lent layers, with more to follow, and the peak until then."""
        places = (self._n_layer,) * 3
        while len(self._lent) <= count:
            state, peak = self._lent[-1]
            state, reached = self._play(state, self._move(len(self._lent) - 1, places, _NOTHING))
            self._lent.append((state, max(peak, reached)))
        return self._lent[count]

    def _move(self, layer: int, places: _Places, expiring: frozenset[str]) -> _Move:
        lent, _, n_cpu_moe = places
        program = self._at("lent" if layer < lent else "experts lent" if layer < n_cpu_moe else "own").programs[layer]
        before = () if layer else self._needed_by(0, places)
        after = self._needed_by(layer + 1, places) if len(program.pieces) > 1 else ()
        return _Move(program, before, after, expiring)

    def _at(self, place: str) -> _Layers:
        layers = self._layers.get(place)
        if layers is None:
            programs = [self._program(layer, place) for layer in range(self._n_layer)]
            layers = self._layers[place] = _Layers(programs)
        return layers

    def _needed_by(self, layer: int, places: _Places) -> tuple[Brought, ...]:
        """What has to be there before this layer begins: for its first piece, and where that is all, for the next."""
        lent, end, n_cpu_moe = places
        if layer < lent:
            return self._at("lent").needed(layer, layer + 1)
        begin = layer
        while layer < n_cpu_moe and len(self._at("experts lent").programs[layer].pieces) == 1:
            layer += 1
        return self._at("own").needed(begin, layer + 1 if layer < n_cpu_moe else end)

    def _expiring(self, places: _Places) -> dict[int, frozenset[str]]:
        """For the layers where it is so, the inputs that no later one reads."""
        lent, end, _ = places
        last_readers = self._at("lent").last_readers(0, lent) | self._at("own").last_readers(lent, end)
        return {
            layer: frozenset(name for name, last in last_readers.items() if last == layer)
            for layer in {*last_readers.values()}
        }

    def _play(self, state: _State, move: _Move) -> tuple[_State, int]:
        played = self._played.get((state, move))
        if played is None:
            play = _Play(state, self._entering_bytes)
            played = self._played[state, move] = play.layer(move)
        return played


class _Play:
    """The room of one GPU while it works with a layer."""

    def __init__(self, state: _State, entering_bytes: int) -> None:
        self._pool = BestFit(state.gaps, state.end)
        self._alive = {} if state.result is None else {ENTERING: state.result}
        self._inputs = {name: (offset, size) for name, offset, size in state.inputs}
        self._entering_bytes = entering_bytes

    def layer(self, move: _Move) -> tuple[_State, int]:
        """Take and give back room as the layer does; the state after it, and the peak."""
        program = move.program
        first, last = program.pieces[0], program.pieces[-1]
        if first.actions and ENTERING not in self._alive:
            self._enter()
            self._bring(move.before)
        self._act(first, move.expiring)
        for piece in program.pieces[1:]:
            self._bring(piece.brought[:1])
            if ENTERING not in self._alive and piece is program.pieces[1] and not first.actions:
                self._enter()  # read beside a weight, by the first of all results
            self._bring((*piece.brought[1:], *(move.after if piece is last else ())))
            self._act(piece, move.expiring)
        inputs = tuple((name, *place) for name, place in self._inputs.items())
        return _State(*self._pool.state, self._alive[program.result], inputs), self._pool.peak_bytes

    def _enter(self) -> None:
        self._alive[ENTERING] = (self._pool.take(self._entering_bytes), self._entering_bytes)

    def _bring(self, brought: Iterable[Brought]) -> None:
        for one in brought:
            copies = self._inputs if one.kind in _STAY else self._alive
            if one.name not in copies:
                copies[one.name] = (self._pool.take(one.size), one.size)

    def _act(self, piece: _Piece, expiring: frozenset[str]) -> None:
        for name, size, place_of, done, inputs in piece.actions:
            if place_of is not None:
                self._alive[name] = self._alive.pop(place_of)
            elif size:
                self._alive[name] = (self._pool.take(size), size)
            for one in done:
                self._pool.give_back(*self._alive.pop(one))
            for one in inputs:
                if one in expiring:
                    self._pool.give_back(*self._inputs.pop(one))
