"""What a graph computes, one node after the other, and which inputs each of them has to find on the GPU.

Source: the `build_*` functions of llama-graph.cpp, whose order the layers' modules keep. Only the order, the sizes and
who reads what are written down, because nothing else decides where a result lies; that a norm is RMS or not is no
matter, that it takes its input's place is.
"""

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
    """What a step reads besides results, by where that is and for how long a copy of it stays."""

    WEIGHT = 0
    """In RAM if its layer is."""
    EXPERTS = 1
    """A weight that may be in RAM alone (`--n-cpu-moe`)."""
    SHARED = 2
    """A weight of all layers: copied once where it is in RAM, and kept until the last of them has read it."""
    CACHE = 3
    """Keys, values or a state: in RAM if its layer is."""
    INPUT = 4
    """An input of the graph: always made in RAM, copied once and kept."""
    COPY = 5
    """A copy of what another device has made for this step."""
    KEPT = 6
    """What an earlier layer made on this device, and kept."""
    KEPT_COPY = 7
    """A layer's own copy of what an earlier layer made on another device; it is kept, too."""


class SplitInput(NamedTuple):
    """Something that a step reads besides results, with the bytes of a copy."""

    kind: Kind
    name: str
    size: int


class Step(NamedTuple):
    """One node of the graph: a result, made of other results and of split inputs."""

    name: str
    size: int
    """Bytes, padded as the backend pads them."""
    reads: tuple[str, ...]
    """The results that it is made of; a copy among them is a result of another device."""
    inputs: tuple[SplitInput, ...] = ()
    in_place_of: tuple[str, ...] = ()
    """It takes the place of the first of these that nobody reads any more: ggml does so for most sums and norms
    (`ggml_op_can_inplace`), but not where they look at a part or at another shape of a result.
    """
    stores: bool = False
    """It is written into the cache, wherever that is, and is no result itself."""
    ends_split: bool = False
    """Another device does something before this one goes on."""
    stays: bool = False
    """It is kept until no layer on this device reads it any more."""


class Steps(list[Step]):
    """Steps in their order. The last one's result is what the layer gives to the next."""

    def add(
        self, size: int, *reads: str, inputs: tuple[SplitInput, ...] = (), in_place: bool = False, in_place_of: str = ""
    ) -> str:
        """Add a result, in the place of any that it reads or of the one that is named; its name is returned."""
        name = str(len(self))
        replaced = reads if in_place else (in_place_of,) if in_place_of else ()
        self.append(Step(name, aligned(size), reads, inputs, replaced))
        return name

    def change(self, size: int, result: str, *inputs: tuple[SplitInput, ...]) -> str:
        """Work a weight into a result that nobody else reads, for each one that is there."""
        for weight in filter(None, inputs):
            result = self.add(size, result, inputs=weight, in_place=True)
        return result

    def keep(self, size: int, result: str, name: str) -> None:
        """Make something that layers to come read as well, by this name."""
        self.append(Step(name, aligned(size), (result,), stays=True))

    def store(self, *results: str, places: tuple[SplitInput, ...] = ()) -> None:
        """Write results into the cache, or hand them to a device that keeps copies of them or works with them there."""
        self.append(Step("", 0, results, places, stores=True))

    def end_split(self, *results: str) -> None:
        """Hand results to another device, which goes on for a while."""
        self.append(Step("", 0, results, ends_split=True))


def graph_input(name: str, size: int) -> tuple[SplitInput, ...]:
    """Read one of the graph's inputs."""
    return (SplitInput(Kind.INPUT, name, aligned(size)),)


def kept_backend_copy(name: str, size: int) -> tuple[SplitInput, ...]:
    """Read a layer's own copy of what an earlier layer made on another device."""
    return (SplitInput(Kind.KEPT_COPY, name, aligned(size)),)


def kept(name: str) -> tuple[SplitInput, ...]:
    """Read what an earlier layer made for this one."""
    return (SplitInput(Kind.KEPT, name, 0),)


def cached(name: str, size: int) -> tuple[SplitInput, ...]:
    """Read a layer's keys or values, its state, or what was made of these in RAM."""
    return (SplitInput(Kind.CACHE, name, aligned(size)),)


def backend_copy(name: str, size: int) -> tuple[SplitInput, ...]:
    """Read a copy of what another device has made."""
    return (SplitInput(Kind.COPY, name, aligned(size)),)


def take_up_state(steps: Steps, size: int, sequences: int, name: str = "") -> str:
    """Copy a state of all sequences out of the cache; the result has that `name`, if there is one."""
    places = graph_input("states' places", _PLACE_BYTES * sequences)
    if name:
        steps.append(Step(name, aligned(size), (), places))
    else:
        name = steps.add(size, inputs=places)
    keep_other_states(steps)
    return name


def keep_other_states(steps: Steps) -> None:
    """Copy those of sequences that have nothing in the batch to where they belong. Here there are none, but that takes
    its place, too, see `allocator`.
    """
    copied = steps.add(0, inputs=graph_input("other states' places", 0))
    steps.append(Step("", 0, (copied,)))
