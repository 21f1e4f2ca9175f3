"""What earlier versions wrote: they named GPUs by their places in our list, which say nothing once the list is another.

A place is kept as that (`PlannedGpu.unidentified`) until it is known which GPU had it, or its user chooses again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from launchdeck.domain.gpu import PlannedGpu
from launchdeck.domain.limits import Count, Length
from launchdeck.domain.request import MOST_GPUS
from launchdeck.engines.devices.targets import with_gpus
from launchdeck.hardware.masks import CUDA_MASK, HIP_MASK
from launchdeck.serving.records.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from launchdeck.domain.errors import Fix
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.request import ModelLoadRequest

_PLACES: Final = "gpu_indices"
_Places = Annotated[tuple[Count, ...], Length(0, MOST_GPUS)] | None
_Environment = tuple[tuple[str, str], ...]
_UUID_BEGINNINGS: Final = ("GPU-", "MIG-")


def request_of(data: Any) -> Any:
    """A request as JSON, whoever wrote it. Raises ValueError."""
    if not isinstance(data, dict) or _PLACES not in data or "gpu_uuids" in data:
        return data
    places = from_json(_Places, data[_PLACES])
    return data if places is None else _with_gpus(data, [PlannedGpu.unidentified(place) for place in places])


def plan_of(data: Any) -> Any:
    """The same of a plan. It has the identities beside, or in its environment, unless the engine counts by itself.

    Raises ValueError.
    """
    request = data.get("request") if isinstance(data, dict) else None
    if not isinstance(request, dict) or request.get(_PLACES) is None or "gpu_uuids" in request:
        return data
    places = from_json(_Places, request[_PLACES]) or ()
    gpus = _named(data, places) or [PlannedGpu.unidentified(place) for place in places]
    return data | {"request": _with_gpus(request, gpus), "gpus": to_json(gpus)}


def fix_of(fix: Fix) -> Fix | None:
    """A fix that changes what there is to change now. One for a place is none any more."""
    changes: dict[str, Any] = dict(fix.changes)
    if changes.pop(_PLACES, None):
        return None
    if len(changes) < len(fix.changes):
        changes["gpu_uuids"] = ()
    return replace(fix, changes=tuple(changes.items()))


def places_in(requests: Iterable[ModelLoadRequest]) -> set[int]:
    """The places of which nobody knows yet which GPUs they meant."""
    return {gpu.index for request in requests for gpu in request.named_gpus if not gpu.is_identified}


def identified(request: ModelLoadRequest, inventory: Inventory) -> ModelLoadRequest:
    """The request with the GPUs that have its places in this list."""
    here = {reading.gpu.index: PlannedGpu.of(reading.gpu) for reading in inventory.gpus}
    gpus = request.named_gpus
    if all(gpu.is_identified for gpu in gpus):
        return request
    return with_gpus(request, [gpu if gpu.is_identified else here.get(gpu.index, gpu) for gpu in gpus])


@dataclass(frozen=True, slots=True)
class SeenGpus:
    """What was written down of the GPUs of before, by their UUIDs.

    Attributes:
        places: the place in the list that a GPU had, for those on which recorded models run.
        ran_on: those on which models have run at any time.
        charted: all that the window's charts have, in the order of their list; empty where there are no charts.
    """

    places: frozenset[tuple[int, str]] = frozenset()
    ran_on: frozenset[str] = frozenset()
    charted: tuple[str, ...] = ()


def is_list_of_then(inventory: Inventory, places: Collection[int], seen: SeenGpus) -> bool:
    """Whether nothing speaks against places meaning in this list what they meant before.

    No GPU is away: that would move all that come after it. Every record has its GPU at the same place, and the charts
    show the same GPUs in the same order: a new one, or another driver that answers first, moves them as well. Without
    charts the order of several drivers is known only where the records tell it.
    """
    gpus = {reading.gpu.index: reading.gpu for reading in inventory.gpus}
    here = [gpus[place].uuid for place in sorted(gpus)]
    if not gpus.keys() >= set(places) or not seen.ran_on.issubset(here):
        return False
    if any(place not in gpus or gpus[place].uuid != uuid for place, uuid in seen.places):
        return False
    charted = [uuid for uuid in seen.charted if uuid != inventory.cpu.gpu.uuid]
    if charted:
        return charted == here
    is_one_driver = len({gpu.gpu_type for gpu in gpus.values()}) <= 1
    return is_one_driver or {place for place, _ in seen.places}.issuperset(places)


def _with_gpus(request: dict[str, Any], gpus: Sequence[PlannedGpu]) -> dict[str, Any]:
    return request | {"gpu_uuids": [gpu.uuid for gpu in gpus], "known_gpus": to_json(tuple(gpus))}


def _named(plan: dict[str, Any], places: Sequence[int]) -> list[PlannedGpu]:
    """Those that it lists, or that the mask of its environment names; none where that has numbers, or hides all."""
    listed: tuple[PlannedGpu, ...] = from_json(tuple[PlannedGpu, ...], plan.get("gpus", []))
    if listed and [gpu.index for gpu in listed] == list(places):
        return list(listed)
    environment = dict(from_json(_Environment, plan.get("env", [])))
    for mask in (CUDA_MASK, HIP_MASK):
        uuids = environment.get(mask, "").split(",")
        if len(uuids) == len(places) and all(uuid.startswith(_UUID_BEGINNINGS) for uuid in uuids):
            return [PlannedGpu(place, uuid, "") for place, uuid in zip(places, uuids, strict=True)]
    return []
