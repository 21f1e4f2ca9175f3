"""A layer as the scheduler hands it to a GPU: cut into splits, with places taken and given back instead of results.

Source: `ggml_backend_sched_split_graph` (ggml-backend.cpp) and `ggml_gallocr_alloc_graph_impl` (ggml-alloc.c) of
llama.cpp b10605.

Why splits matter to memory: all inputs of a split are copied before its first node is computed, and are given back when
the last node has read them. A weight in RAM begins a new split (`need_new_split`), so the copies of an offloaded
layer's matrices come one after the other and reuse each other's room, whereas the inputs of one long split over many
layers on the GPU are all there from its beginning. And a GPU's split ends where another device has to do
something, even if that is only to write into a cache in RAM.

Why steps are compiled: which results are read for the last time, and which take another's place, is the same whenever
the layer is played. `Program` has that worked out, as the bare taking and giving back that `rehearsal` repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.steps import ENTERING, Kind, SplitInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launchdeck.planning.llama.replay.steps import Step

STAY = frozenset({Kind.INPUT, Kind.SHARED, Kind.KEPT, Kind.KEPT_COPY})
_BEGIN_A_SPLIT = frozenset({Kind.WEIGHT, Kind.EXPERTS, Kind.SHARED})


class Place(IntEnum):
    """Where a layer's weights are: in the GPU's own memory, with or without its experts, or in RAM, with its operations
    offloaded to the GPU all the same (`op_offload` of ggml's scheduler).
    """

    OWN = 0
    EXPERTS_OFFLOADED = 1
    OFFLOADED = 2

    @property
    def in_ram(self) -> frozenset[Kind]:
        """What is copied to the GPU before it is read."""
        return _IN_RAM[self]


_ALWAYS = frozenset({Kind.INPUT, Kind.COPY, Kind.KEPT_COPY})
_IN_RAM = (_ALWAYS, _ALWAYS | {Kind.EXPERTS}, frozenset(Kind) - {Kind.KEPT})


class Begin(IntEnum):
    """How a layer gets what enters it: it is there, or it is the first one, and that is copied to its GPU: embeddings
    from the host, or from the GPU before what that made and its norm. `KEPT` are copies of several batches at once,
    whose room nothing else may have.
    """

    NOT = 0
    EMBEDDED = 1
    COPIED = 2
    KEPT_EMBEDDED = 3
    KEPT_COPIED = 4
    KEPT_NOT = 5

    @property
    def is_first(self) -> bool:
        return self not in {Begin.NOT, Begin.KEPT_NOT}

    @property
    def is_kept(self) -> bool:
        return self >= Begin.KEPT_EMBEDDED

    @property
    def is_embedded(self) -> bool:
        return self in {Begin.EMBEDDED, Begin.KEPT_EMBEDDED}

    @property
    def is_copied(self) -> bool:
        return self in {Begin.COPIED, Begin.KEPT_COPIED}


class Fetch(Enum):
    """Who fetches the state that the next recurrent layer takes up, which happens before a layer comes to its end: the
    same GPU, another one, which makes the gate of this layer's end as well, or the host.
    """

    HERE = auto()
    THERE = auto()
    IN_RAM = auto()


class Setting(NamedTuple):
    """How a layer is worked with: where it is, how it begins and how it ends.

    `fetch`: who fetches the next state, None where there is none; `fetches_first`: its GPU has fetched one before it.
    """

    place: Place
    begin: Begin = Begin.NOT
    fetch: Fetch | None = None
    fetches_first: bool = False


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
class Split:
    """What is copied before it begins, and what it does."""

    inputs: tuple[SplitInput, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A layer in splits. The first goes on with the last one of the layer before, which brings what it needs; where the
    layer is the first one, it brings that itself, and what enters, which has `entering_bytes`. Other devices
    hand it `copied_bytes` besides.
    """

    splits: tuple[Split, ...]
    result: str
    inputs: Mapping[str, int]
    entering_bytes: int = 0
    copied_bytes: int = 0

    @classmethod
    def of(cls, steps: Sequence[Step], place: Place, begin: Begin, entering: Mapping[str, int]) -> Program:
        """Compile the steps. `entering`: what enters the first layer, with its bytes."""
        entering = {**entering} if begin.is_first else {}
        norm = next((step for step in steps if ENTERING in step.reads), None)
        if norm is None:
            entering.pop(ENTERING, None)
        elif begin.is_copied and norm.reads == (ENTERING,) and not norm.inputs:
            entering[norm.name] = norm.size
            steps = [step for step in steps if step is not norm]
        entering_bytes = sum(entering.values())
        copied_bytes = sum(one.size for step in steps for one in step.inputs if one.kind is Kind.COPY)
        compiler = _Compiler(steps, place, entering, are_kept=begin.is_kept)
        for step in steps:
            compiler.compile(step)
        return cls(compiler.splits, steps[-1].name, compiler.inputs, entering_bytes, copied_bytes)


class _Compiler:
    """Makes splits of steps. `entering` is copied when it is read first; where such copies `are_kept`, and those of
    inputs, they have their own room, and are not looked after here.
    """

    def __init__(self, steps: Sequence[Step], place: Place, entering: dict[str, int], *, are_kept: bool) -> None:
        self.inputs: dict[str, int] = {}
        self._place = place
        self._last_read = {name: step for step in steps for name in step.reads}
        self._last_copy = {one.name: step for step in steps for one in step.inputs}
        copies = (one.name for step in steps for one in step.inputs if one.kind is Kind.COPY)
        self._kept = frozenset((*entering, *copies)) if are_kept else frozenset[str]()
        self._are_kept = are_kept
        self._entering = {} if are_kept else entering
        self._split_ended = False
        self._there: set[str] = set()
        # In the first split the layer before copied something, if there was one.
        self._has_copies = not entering
        self._splits: list[tuple[list[SplitInput], list[Action]]] = [([], [])]

    @property
    def splits(self) -> tuple[Split, ...]:
        return tuple(Split(tuple(inputs), tuple(actions)) for inputs, actions in self._splits)

    def compile(self, step: Step) -> None:
        ends_split = step.ends_split or (step.stores and self._place is Place.OFFLOADED)
        inputs = [] if ends_split else [one for one in step.inputs if one.kind in self._place.in_ram]
        if not ends_split and (self._split_ended or (_begins_a_split(inputs) and self._has_copies)):
            self._splits.append(([], []))
            self._split_ended = self._has_copies = False
        self._split_ended = self._split_ended or ends_split
        new = [one for one in inputs if one.name not in self._there and not self._are_kept]
        entered = [
            SplitInput(Kind.CACHE, name, self._entering.pop(name)) for name in step.reads if name in self._entering
        ]
        self._splits[-1][0].extend((*new, *entered))
        self._there.update(one.name for one in new)
        self._has_copies = self._has_copies or bool(new or entered)
        self._splits[-1][1].append(self._action(step, inputs))

    def _action(self, step: Step, inputs: Sequence[SplitInput]) -> Action:
        kept = (one for one in step.inputs if one.kind is Kind.KEPT)
        lasting = {one.name: one.size for one in (*inputs, *kept) if one.kind in STAY}
        self.inputs.update(lasting)
        reads = (name for name in dict.fromkeys(step.reads) if name not in self._kept)
        done = [name for name in reads if self._last_read[name] is step]
        place_of = next((name for name in done if name in step.in_place_of), None)
        if place_of:
            done.remove(place_of)
        copies = (one.name for one in inputs if one.kind not in STAY and self._last_copy[one.name] is step)
        done += (name for name in copies if name not in self._kept and name not in self._last_read)
        read = tuple(name for name in lasting if self._last_copy[name] is step)
        return Action(step.name, step.size, place_of, tuple(done), read, step.stays)


def _begins_a_split(inputs: Sequence[SplitInput]) -> bool:
    return any(one.kind in _BEGIN_A_SPLIT for one in inputs)
