"""The result of planning: the exact command, where it runs, what it will take, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from launchdeck.domain.errors import Failure
from launchdeck.domain.gpu import GpuType, PlannedGpu, Promise
from launchdeck.domain.limits import Count, Port
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message

MASK = "***"


class EngineKind(str):
    """The name of a kind of engine, as records and the HTTP contract have it. `engines.registry` says which there are:
    these are the ones whose names records have had so far.
    """

    __slots__ = ()

    EMBEDDED: ClassVar[EngineKind]
    LLAMA_SERVER: ClassVar[EngineKind]
    VLLM: ClassVar[EngineKind]


EngineKind.EMBEDDED = EngineKind("embedded")
EngineKind.LLAMA_SERVER = EngineKind("llama-server")
EngineKind.VLLM = EngineKind("vllm")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine on this machine. `command` starts it; `flags` are the options it knows (empty: not asked).

    `switches` are those of its options that take no value (empty: not asked, as in records of older versions).
    `gpu_types` are the vendors it has a backend for; `devices` are the lines with which it lists this machine's
    devices: "CUDA0: NAME (TOTAL MiB, FREE MiB free)". `build` is its own build number, None if unknown.
    `architectures` are those of transformers that a vLLM knows (empty: not asked). `hidden_devices` are the names of
    those of `devices` that a mask set before Launchdeck started keeps it off.
    """

    kind: EngineKind
    command: tuple[str, ...]
    path: Path | None
    version: str | None
    gpu_types: frozenset[GpuType]
    devices: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    supports_rpc: bool = False
    build: int | None = None
    architectures: frozenset[str] = frozenset()
    hidden_devices: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        return str(self.kind) if self.path is None else f"{self.kind}:{self.path}"


class Verdict(StrEnum):
    """Whether a launch fits into what is free. Tight: it does, but into the margin that "auto" leaves.

    In the order of their weight: that of several devices is the last one that one of them has.
    """

    FITS = "fits"
    TIGHT = "tight"
    UNKNOWN = "unknown"
    DOES_NOT_FIT = "does not fit"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        return max(verdicts, key=list(cls).index, default=cls.FITS)


class Tier(StrEnum):
    """Where a predicted number comes from: our closed form, the engine's own account, or the last real start.

    A guess, from keys and tensors alone, is the form for an architecture that is not known.
    """

    GUESS = "guess"
    FORMULA = "formula"
    ENGINE = "engine"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class DeviceEstimate:
    """Predicted bytes on one device. `weights`, `kv`, `compute` mean what llama.cpp's buffer lines mean;
    `overhead` is what the driver's context takes besides; on the host it is what the prompt cache may grow to.
    `free_bytes` is None where nobody can tell, and what remains after the `promises` to other launches.
    Weights and KV (`kv_tier`) come from the closed form, which is exact, wherever there is one.
    """

    device: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    free_bytes: int | None
    compute_tier: Tier = Tier.FORMULA
    overhead_tier: Tier = Tier.FORMULA
    kv_tier: Tier = Tier.FORMULA
    promises: tuple[Promise, ...] = ()

    @property
    def promised_bytes(self) -> int:
        """How much of the free memory is promised to other launches."""
        return sum(promise.size_bytes for promise in self.promises)

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.overhead_bytes

    @property
    def fits(self) -> bool | None:
        """None where the free memory is not known."""
        return None if self.free_bytes is None else self.total_bytes <= self.free_bytes

    def verdict(self, margin_bytes: int) -> Verdict:
        """A device that nothing is placed on has no need of a margin."""
        if self.free_bytes is None:
            return Verdict.UNKNOWN
        if self.total_bytes > self.free_bytes:
            return Verdict.DOES_NOT_FIT
        short = self.total_bytes + margin_bytes > self.free_bytes
        return Verdict.TIGHT if short and self.total_bytes else Verdict.FITS


@dataclass(frozen=True, slots=True)
class Estimate:
    """`devices` are the chosen GPUs (and RPC workers) in their order, and never the CPU: that is `host`."""

    devices: tuple[DeviceEstimate, ...]
    host: DeviceEstimate


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """`asked` as in the request; `resolved` is the number in argv; `total` all there are;
    `largest_that_fits` None where it cannot be told. `fewest_experts_in_ram`: of how many blocks the experts would have
    to stay in RAM for all layers to fit; None where that does not help.
    """

    asked: int | None
    resolved: int
    total: int
    largest_that_fits: int | None
    fewest_experts_in_ram: int | None = None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """All that is needed to start a model, and to show it before.

    `request` is the one asked for, with the GPUs that were chosen for it in `gpu_uuids`; `gpus` are those, in
    the order of the first devices of `estimate`. `device_names` are the
    engine's own names of the devices of `estimate`, in the same order, as its log has them ("CUDA0",
    "RPC0[host:port]").
    `env` is what is added to the inherited environment, with `env_unset` taken away (a name that ends in `*` stands
    for all that begin so): see `planning.placement`. The values of `secret_env` names are MASK here: the keys
    themselves are put in when the process starts and stand in no plan, record or log.
    `flash_attention`: whether llama.cpp will compute attention in one go (None: not said).
    `n_slots`: how many slots the engine is told to have, fewer than were asked for where it divides the context by
    them (None: as many as were asked for). `margin_bytes` is what "auto" leaves free on each device. `for_others` are
    clauses that speak for another engine.
    `blocker` tells why this plan can be looked at but not be started (say, the engine is not installed).
    """

    request: ModelLoadRequest
    model: ModelInfo
    model_id: str
    engine: EngineInfo
    reasons: tuple[Message, ...]
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    env_unset: tuple[str, ...]
    secret_env: tuple[str, ...]
    host: str
    port: Port
    n_ctx: Count
    device_names: tuple[str, ...]
    layers: LayerPlan
    estimate: Estimate
    warnings: tuple[Message, ...] = ()
    blocker: Failure | None = None
    margin_bytes: int = 0
    for_others: tuple[Message, ...] = ()
    flash_attention: bool | None = None
    gpus: tuple[PlannedGpu, ...] = ()
    n_slots: Count | None = None

    @property
    def verdict(self) -> Verdict:
        """That of all devices together; RAM needs no margin, and where its free part is not known it does not count."""
        devices = [device.verdict(self.margin_bytes) for device in self.estimate.devices]
        if self.estimate.host.fits is False:
            devices.append(Verdict.DOES_NOT_FIT)
        return Verdict.worst(devices)

    @property
    def url(self) -> str:
        """The base address of the engine's OpenAI-compatible interface."""
        return f"http://{self.host}:{self.port}/v1"
