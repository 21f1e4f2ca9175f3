"""A model that was launched: its state, and what was asked, predicted, applied and measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from launchdeck.domain.errors import Failure
from launchdeck.domain.gpu import PlannedGpu
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.text import Message

DEPLOYMENT_ID: Final = re.compile(r"[0-9a-f]{8}")
"""What every id is, in its whole length: it names a folder and a socket."""


class State(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    LOADING = "loading"
    RUNNING = "running"
    UNRESPONSIVE = "unresponsive"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_live(self) -> bool:
        """Whether a process may exist: everything but stopped and failed."""
        return self not in {State.STOPPED, State.FAILED}

    @property
    def status(self) -> str:
        """The three words of the HTTP contract."""
        if self in {State.QUEUED, State.STARTING, State.LOADING}:
            return "loading"
        return "running" if self.is_live else str(self)


@dataclass(frozen=True, slots=True)
class Buffer:
    """One line of the engine's own accounting: `kind` is weights, kv or compute (llama.cpp: model, KV, compute)."""

    device: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """A device that the engine says it uses: its own name for it, what the driver calls it, where it sits on the bus
    (None: not told), and what is free on it.
    """

    name: str
    text: str
    pci_address: str | None
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What the engine says it did, read from its log. None and empty: it has not said so (yet).

    `layers_offloaded` is the engine's claim; a build without any GPU claims it too, so what counts are the buffers.
    `n_ctx_slot` is the longest that one request can be. `placed` are the `devices` with all that was told of them.
    `kv_tokens` is how many tokens the KV cache holds, `max_concurrency` how many requests of `n_ctx` tokens at once.
    """

    layers_offloaded: int | None = None
    layers_total: int | None = None
    n_ctx: int | None = None
    n_ctx_slot: int | None = None
    n_slots: int | None = None
    flash_attention: bool | None = None
    cache_types: tuple[str, str] | None = None
    devices: tuple[str, ...] = ()
    placed: tuple[PlacedDevice, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    kv_tokens: int | None = None
    max_concurrency: float | None = None

    def device_bytes(self, device: str, kind: str) -> int:
        """The sum of this kind's buffers on this device."""
        return sum(b.size_bytes for b in self.buffers if b.device == device and b.kind == kind)


@dataclass(frozen=True, slots=True)
class Exit:
    """How the engine ended: exactly one of `code` and `signal` is set."""

    code: int | None
    signal: int | None


@dataclass(frozen=True, slots=True)
class Restart:
    """The pause before a failed model is started again: for the `number`th of `most` times, in `in_s` seconds."""

    number: int
    most: int
    in_s: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """One launched model at one moment. `id` is ours (see DEPLOYMENT_ID); `plan.model_id` is the name people gave it.

    `progress` is 0 to 1 while loading, None where the engine does not tell. Times are Unix seconds.
    `pids` is the engine's process tree, the engine itself first. `vram_by_gpu` are pairs of a GPU's UUID and the bytes
    that the driver counts there for these processes; `vram_bytes` is their sum. `own_ram_bytes` is the part of
    `rss_bytes` that is theirs alone: without the pages of files that they have mapped. `lost_gpus` are the UUIDs of
    those of its GPUs that do not answer any more. `places` are pairs of the UUID and the place in our list of those of
    its GPUs that are in it now, None before anybody has looked. `queued_because` is a clause while it waits for its
    turn to be launched, `ended_how` one where it could not be stopped as usual. `restarts` is how often it was started
    again in this run of the application: after a failure, or by hand, as the deployment whose place it has taken.
    """

    id: str
    plan: LaunchPlan
    state: State
    created_at_s: float
    ready_at_s: float | None = None
    ended_at_s: float | None = None
    progress: float | None = None
    stage: str | None = None
    applied: Applied = Applied()
    pids: tuple[int, ...] = ()
    rss_bytes: int | None = None
    own_ram_bytes: int | None = None
    vram_bytes: int | None = None
    vram_by_gpu: tuple[tuple[str, int], ...] = ()
    exit: Exit | None = None
    failure: Failure | None = None
    restart: Restart | None = None
    lost_gpus: tuple[str, ...] = ()
    places: tuple[tuple[str, int], ...] | None = None
    adopted: bool = False
    queued_because: Message | None = None
    restarts: int = 0
    ended_how: Message | None = None

    @property
    def lost(self) -> tuple[PlannedGpu, ...]:
        """Those of its GPUs that do not answer any more."""
        return tuple(gpu for gpu in self.plan.gpus if gpu.uuid in self.lost_gpus)

    @property
    def lost_places(self) -> tuple[int, ...] | None:
        """Where these stand in our list now; None where one has left it, and is to be called by its name."""
        places = [self.place_of(gpu) for gpu in self.lost]
        known = tuple(place for place in places if place is not None)
        return known if len(known) == len(places) else None

    def place_of(self, gpu: PlannedGpu) -> int | None:
        """Where this GPU of the plan stands in our list now; None: it is not there, or not known which it is.

        Before the first look it is the place that it had when it was planned.
        """
        if not gpu.is_identified:
            return None
        return gpu.index if self.places is None else dict(self.places).get(gpu.uuid)
