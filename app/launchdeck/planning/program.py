"""A layer as a GPU works with it: what is copied there before which results, and whose place each of them takes.

Source: `ggml_backend_sched_split_graph` (a weight in RAM begins a new piece of the graph, and all that a piece needs is
copied before it begins) and `ggml_gallocr_alloc_graph_impl` of llama.cpp b10605.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.steps import ENTERING, Brought, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launchdeck.planning.steps import Step

STAY = frozenset({Kind.INPUT, Kind.SHARED, Kind.KEPT})
_BEGIN_A_PIECE = frozenset({Kind.WEIGHT, Kind.EXPERTS, Kind.SHARED})


class Place(IntEnum):
    """Where a layer is: in the GPU's own memory, with or without its experts, or lent to it by the host."""

    OWN = 0
    EXPERTS_LENT = 1
    LENT = 2

    @property
    def in_ram(self) -> frozenset[Kind]:
        """What is copied to the GPU when it is its turn."""
        return _IN_RAM[self]


_ALWAYS = frozenset({Kind.INPUT, Kind.AWAY})
_IN_RAM = (_ALWAYS, _ALWAYS | {Kind.EXPERTS}, frozenset(Kind) - {Kind.KEPT})


class Begin(IntEnum):
    """How a layer gets what enters it: it is there, or it is the first one, and that is copied to its GPU: embeddings
    from the host, or from the GPU before what that made and its norm. `KEPT` are copies of several batches at once,
    whose room nothing else may have.
    """

    NOT = 0
    EMBEDDED = 1
    HANDED_OVER = 2
    KEPT_EMBEDDED = 3
    KEPT_HANDED_OVER = 4

    @property
    def is_kept(self) -> bool:
        return self >= Begin.KEPT_EMBEDDED

    @property
    def is_embedded(self) -> bool:
        return self in {Begin.EMBEDDED, Begin.KEPT_EMBEDDED}

    @property
    def is_handed_over(self) -> bool:
        return self in {Begin.HANDED_OVER, Begin.KEPT_HANDED_OVER}


class Action(NamedTuple):
    """A result, the one whose place it takes (None: a new one), what is done with after it, and the inputs that the
    layer reads for the last time; and whether it `stays` like one of these.
    """

    name: str
    size: int
    place_of: str | None
    done: tuple[str, ...]
    inputs: tuple[str, ...]
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What is copied before it begins, and what it does."""

    brought: tuple[Brought, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A layer in pieces. The first goes on with the last one of the layer before, which brings what it needs; where the
    layer is the first one, it brings that itself, and what enters, which has `entering_bytes`.
    """

    pieces: tuple[Piece, ...]
    result: str
    inputs: frozenset[str]
    entering_bytes: int = 0

    @classmethod
    def of(cls, steps: Sequence[Step], place: Place, begin: Begin, entering: Mapping[str, int]) -> Program:
        """`entering`: what enters the first layer, with its bytes."""
        entering = {**entering} if begin else {}
        if begin.is_handed_over and steps[0].reads == (ENTERING,) and not steps[0].brought:
            entering[steps[0].name] = steps[0].size  # the norm
            steps = steps[1:]
        entering_bytes = sum(entering.values())
        compiler = _Compiler(steps, place, entering, are_kept=begin.is_kept)
        for step in steps:
            compiler.compile(step)
        return cls(compiler.pieces, steps[-1].name, frozenset(compiler.inputs), entering_bytes)


class _Compiler:
    """Makes pieces of steps. `entering` is copied when it is read first; where such copies `are_kept`, and those of
    inputs, they have their own room, and are not looked after here.
    """

    def __init__(self, steps: Sequence[Step], place: Place, entering: dict[str, int], *, are_kept: bool) -> None:
        self.inputs: set[str] = set()
        self._place = place
        self._last_read = {name: step for step in steps for name in step.reads}
        self._last_input = {one.name: step for step in steps for one in step.brought if one.kind in STAY}
        self._begins = bool(entering)
        self._kept = frozenset(entering) if are_kept else frozenset[str]()
        self._are_kept = are_kept
        self._entering = {} if are_kept else entering
        self._leaves_gpu = False
        self._pieces: list[tuple[list[Brought], list[Action]]] = [([], [])]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(Piece(tuple(brought), tuple(actions)) for brought, actions in self._pieces)

    def compile(self, step: Step) -> None:
        stores_there = step.stores and self._place is Place.LENT
        brought = [one for one in step.brought if one.kind in self._place.in_ram and not stores_there]
        if not step.stores and (self._leaves_gpu or (_begins_a_piece(brought) and not self._is_at_the_beginning)):
            self._pieces.append(([], []))
            self._leaves_gpu = False
        self._leaves_gpu = self._leaves_gpu or stores_there
        inputs = [one.name for one in brought if one.kind in STAY]
        inputs += [one.name for one in step.brought if one.kind is Kind.KEPT]
        copies = [one.name for one in brought if one.kind not in STAY and one.name not in step.reads]
        entered = [Brought(Kind.CACHE, name, self._entering.pop(name)) for name in step.reads if name in self._entering]
        if not self._are_kept:
            self._pieces[-1][0].extend((*brought, *entered))
        self.inputs.update(inputs)
        reads = (name for name in dict.fromkeys(step.reads) if name not in self._kept)
        done = [name for name in reads if self._last_read[name] is step]
        place_of = done.pop(0) if step.in_place and done else None
        read = tuple(name for name in inputs if self._last_input[name] is step)
        self._pieces[-1][1].append(Action(step.name, step.size, place_of, (*done, *copies), read, step.stays))

    @property
    def _is_at_the_beginning(self) -> bool:
        """Nothing was copied to the GPU before: the first weight does not begin another piece."""
        return self._begins and len(self._pieces) == 1 and not self._pieces[0][0]


def _begins_a_piece(brought: Sequence[Brought]) -> bool:
    return any(one.kind in _BEGIN_A_PIECE for one in brought)
