"""What a graph computes, one result after the other, and what each step has to bring to the GPU."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from launchdeck.planning.llama.replay.allocator import aligned

_PLACE_BYTES = 4
ENTERING = "entering"
LAYER_EMBEDDINGS = "layer embeddings"
# The state that the next recurrent layer takes up: it is fetched before the layer before comes to its end.
AHEAD = "ahead"


class Kind(IntEnum):
    """What lies in RAM where its layer does: weights (`EXPERTS` may stay there alone, `SHARED` ones belong to all
    layers), and the cache. An `INPUT` always comes from there. Inputs and shared weights are copied once, and stay; so
    does what an earlier layer made and `KEPT`, or another device, `AWAY`. What that made for a step is `HANDED` over.
    """

    WEIGHT = 0
    EXPERTS = 1
    SHARED = 2
    CACHE = 3
    INPUT = 4
    HANDED = 5
    KEPT = 6
    AWAY = 7


class Brought(NamedTuple):
    """Something that a step reads besides results, with the bytes of a copy."""

    kind: Kind
    name: str
    size: int


class Step(NamedTuple):
    """One result of `size` bytes, made of the results it `reads`.

    `in_place_of`: it takes the place of the first of these that nobody reads any more (llama.cpp does so for most sums
    and norms, but not where they look at a part or at another shape of a result). `stores`: it is written into the
    cache, wherever that is, and is no result itself. `leaves`: another device does something before this one goes on.
    `stays`: until no layer on this device reads it any more. A copy that is among what it `reads` is a result of
    another device.
    """

    name: str
    size: int
    reads: tuple[str, ...]
    brought: tuple[Brought, ...] = ()
    in_place_of: tuple[str, ...] = ()
    stores: bool = False
    leaves: bool = False
    stays: bool = False


class Steps(list[Step]):
    """Steps in their order. The last one's result is what the layer gives to the next."""

    def add(
        self, size: int, *reads: str, brought: tuple[Brought, ...] = (), in_place: bool = False, in_place_of: str = ""
    ) -> str:
        """Another result, in the place of any that it reads or of the one that is named; its name is returned."""
        name = str(len(self))
        replaced = reads if in_place else (in_place_of,) if in_place_of else ()
        self.append(Step(name, aligned(size), reads, brought, replaced))
        return name

    def change(self, size: int, result: str, *brought: tuple[Brought, ...]) -> str:
        """Work a weight into a result that nobody else reads, for each one that is there."""
        for weight in filter(None, brought):
            result = self.add(size, result, brought=weight, in_place=True)
        return result

    def keep(self, size: int, result: str, name: str) -> None:
        """Make something that layers to come read as well, by this name."""
        self.append(Step(name, aligned(size), (result,), stays=True))

    def store(self, *results: str, places: tuple[Brought, ...] = ()) -> None:
        """Write results into the cache, or hand them to a device that keeps copies of them or works with them there."""
        self.append(Step("", 0, results, places, stores=True))

    def leave(self, *results: str) -> None:
        """Hand results to another device, which goes on for a while."""
        self.append(Step("", 0, results, leaves=True))


def given(name: str, size: int) -> tuple[Brought, ...]:
    """One of the graph's inputs."""
    return (Brought(Kind.INPUT, name, aligned(size)),)


def away(name: str, size: int) -> tuple[Brought, ...]:
    """A layer's own copy of what an earlier layer made on another device."""
    return (Brought(Kind.AWAY, name, aligned(size)),)


def kept(name: str) -> tuple[Brought, ...]:
    """What an earlier layer made for this one."""
    return (Brought(Kind.KEPT, name, 0),)


def cached(name: str, size: int) -> tuple[Brought, ...]:
    """A layer's keys or values, its state, or what was made of these in RAM."""
    return (Brought(Kind.CACHE, name, aligned(size)),)


def handed(name: str, size: int) -> tuple[Brought, ...]:
    """What another device made."""
    return (Brought(Kind.HANDED, name, aligned(size)),)


def take_up_state(steps: Steps, size: int, sequences: int, name: str = "") -> str:
    """Copy a state of all sequences out of the cache; the result has that `name`, if there is one."""
    places = given("states' places", _PLACE_BYTES * sequences)
    if name:
        steps.append(Step(name, aligned(size), (), places))
    else:
        name = steps.add(size, brought=places)
    leave_other_states(steps)
    return name


def leave_other_states(steps: Steps) -> None:
    """Those of sequences that have nothing in the batch are copied to where they belong. Here there are none, but that
    takes its place, too, see `allocator`.
    """
    copied = steps.add(0, brought=given("other states' places", 0))
    steps.append(Step("", 0, (copied,)))
