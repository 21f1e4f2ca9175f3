"""What a graph computes, one result after the other, and what each step has to bring to the GPU."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from launchdeck.planning.allocator import aligned

ENTERING = "entering"
LAYER_EMBEDDINGS = "layer embeddings"


class Kind(IntEnum):
    """What lies in RAM where its layer does: weights (`EXPERTS` may stay there alone, `SHARED` ones belong to all
    layers), and the cache. An `INPUT` always comes from there. Inputs and shared weights are copied once, and stay; so
    does what an earlier layer made and `KEPT`. What another device keeps for it is `AWAY`, and copied for each layer.
    """

    WEIGHT = 0
    EXPERTS = 1
    SHARED = 2
    CACHE = 3
    INPUT = 4
    KEPT = 5
    AWAY = 6


class Brought(NamedTuple):
    """Something that a step reads besides results, with the bytes of a copy."""

    kind: Kind
    name: str
    size: int


class Step(NamedTuple):
    """One result of `size` bytes, made of the results it `reads`.

    `in_place`: it takes the place of the first of those that nobody reads any more (llama.cpp does so for most sums and
    norms, but not where they look at a part or at another shape of a result). `stores`: it is written into the cache,
    wherever that is, or to another device, and is no result itself. A copy that is among what it `reads` is a result of
    another device. `stays`: until no layer on this device reads it any more.
    """

    name: str
    size: int
    reads: tuple[str, ...]
    brought: tuple[Brought, ...] = ()
    in_place: bool = False
    stores: bool = False
    stays: bool = False


class Steps(list[Step]):
    """Steps in their order. The last one's result is what the layer gives to the next."""

    def add(self, size: int, *reads: str, brought: tuple[Brought, ...] = (), in_place: bool = False) -> str:
        """Another result; its name is returned."""
        name = str(len(self))
        self.append(Step(name, aligned(size), reads, brought, in_place))
        return name

    def change(self, size: int, result: str, *brought: tuple[Brought, ...]) -> str:
        """Work a weight into a result that nobody else reads, for each one that is there."""
        for weight in filter(None, brought):
            result = self.add(size, result, brought=weight, in_place=True)
        return result

    def keep(self, size: int, result: str, name: str) -> None:
        """Make something that layers to come read as well, by this name."""
        self.append(Step(name, aligned(size), (result,), stays=True))

    def hand_over(self, *results: str) -> None:
        """Give results away, to another device that keeps copies of them."""
        self.append(Step("", 0, results, stores=True))

    def store(self, result: str, places: Brought) -> None:
        """Write a result into the cache."""
        self.append(Step("", 0, (result,), (places,), stores=True))


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
    """A layer's keys or values."""
    return (Brought(Kind.CACHE, name, aligned(size)),)
