"""The devices of a launch by all their names: ours, the one llama-server's options take, and the one in its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from launchdeck.domain.gpu import Gpu, GpuReading, GpuState, GpuType
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.text import Message
from launchdeck.domain.units import MIB
from launchdeck.engines.devices.card import Card
from launchdeck.engines.devices.device_orders import DeviceOrders
from launchdeck.engines.devices.listing import MASKED_BACKENDS, Listed, listed, read_listing
from launchdeck.engines.devices.matching import Match, Rule, match_devices

_OUR_BACKENDS = frozenset(MASKED_BACKENDS.values())


@dataclass(frozen=True, slots=True)
class Machine:
    """All GPUs, which an engine's devices are matched with, and what its earlier starts have told of them."""

    cards: tuple[Card, ...]
    orders: DeviceOrders = field(default_factory=DeviceOrders)

    @classmethod
    def of(cls, readings: Sequence[GpuReading], orders: DeviceOrders) -> Machine:
        return cls(tuple(map(Card.of, readings)), orders)

    @classmethod
    def of_gpus(cls, gpus: Sequence[Gpu]) -> Machine:
        """With nothing measured."""
        return cls(tuple(Card(gpu, None, None, answers=True) for gpu in gpus))

    def matches(self, engine: EngineInfo, backend: str) -> Mapping[str, Match]:
        """By the GPUs' UUIDs, what they are on this backend of this engine."""
        # a number on a backend with a mask counts what the mask lets through: it is another device in each launch
        addresses = {} if backend in _OUR_BACKENDS else self.orders.addresses(engine)
        return _matched(self.cards, engine.devices, backend, tuple(addresses.items()))


@lru_cache(maxsize=64)
def _matched(
    cards: tuple[Card, ...], lines: tuple[str, ...], backend: str, addresses: tuple[tuple[str, str], ...]
) -> Mapping[str, Match]:
    """It is asked for often while a plan is made, and again while the slider moves."""
    devices = [device for device in read_listing(lines) if device.backend == backend]
    return match_devices(cards, devices, dict(addresses))


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """`label` is for people, `option` for `--device`, `log_name` stands before its buffers in the log.

    `is_masked`: the vendor's mask has to show this GPU to the engine. `match` is how it was found in the listing.
    `is_guess`: what is free could not be measured, `free_bytes` is the most that it can be.
    """

    label: str
    option: str
    log_name: str
    free_bytes: int | None
    is_worker: bool = False
    is_masked: bool = False
    match: Match | None = None
    is_guess: bool = False


def is_masked(engine: EngineInfo, vendor: GpuType) -> bool:
    """Whether this engine reaches this vendor's GPUs by the vendor's own library, which obeys the vendor's mask."""
    devices = listed(engine)
    prefix = MASKED_BACKENDS.get(vendor)
    return prefix is not None and (not devices or any(device.name.startswith(prefix) for device in devices))


def has_kernels_of_cuda(engine: EngineInfo, devices: Sequence[EngineDevice]) -> bool:
    """Whether it has shown GPUs of llama.cpp's CUDA backend, or of ROCm's, which is made of the same source, and these
    devices are such.
    """
    has_shown = any(device.backend in _OUR_BACKENDS for device in listed(engine))
    return has_shown and any(device.is_masked for device in devices)


def can_use(engine: EngineInfo, gpus: Sequence[Gpu], machine: Machine) -> bool:
    """Whether this engine has a backend for each of these GPUs, and can be told to use these and no others."""
    return _routes(engine, gpus, machine) is not None


def lists_vendor_of(engine: EngineInfo, gpu: Gpu) -> tuple[Listed, ...]:
    """The devices of this GPU's vendor that this engine could be told to use: it may be any of them."""
    if "--device" not in engine.flags:
        return ()
    return tuple(device for device in listed(engine) if device.vendor is gpu.gpu_type)


def engine_devices(
    engine: EngineInfo, gpus: Sequence[GpuReading], rpc_workers: Sequence[str], machine: Machine
) -> tuple[EngineDevice, ...]:
    """The chosen GPUs and then the workers. A worker is one device, the first that it has."""
    routes = _routes(engine, [reading.gpu for reading in gpus], machine) or (_Route("", None),) * len(gpus)
    devices = []
    for reading, route in zip(gpus, routes, strict=True):
        device = EngineDevice(
            label=f"GPU {reading.gpu.index}",
            option=route.name,
            log_name=route.name,
            free_bytes=_usable_bytes(reading, route.match),
            is_masked=route.is_masked,
            match=route.match,
            is_guess=free_bytes(reading) is None,
        )
        devices.append(device)
    workers = {device.text: device.free_bytes for device in listed(engine) if device.name.startswith("RPC")}
    for place, address in enumerate(rpc_workers):
        devices.append(
            EngineDevice(f"RPC {address}", f"RPC{place}", f"RPC0[{address}]", workers.get(address), is_worker=True)
        )
    return tuple(devices)


def free_bytes(reading: GpuReading) -> int | None:
    """What is free and promised to nobody. A sleeping GPU is not woken to be asked; nothing runs on it."""
    asleep = reading.sample.state is GpuState.ASLEEP
    free = reading.gpu.total_memory_bytes if asleep else reading.sample.free_memory_bytes
    return None if free is None else max(free - reading.promised_bytes, 0)


def warnings_of_devices(devices: Sequence[EngineDevice]) -> tuple[Message, ...]:
    """What was assumed of these devices, and where the engine sees less of one than its driver."""
    warnings = []
    for device in devices:
        match = device.match
        if match is None:
            continue
        if not device.is_masked and (assumed := _assumed(match)) is not None:
            warnings.append(assumed)
        if match.card.sees_more_than(match.device):
            gpu = match.card.gpu
            warnings.append(
                Message(
                    "This engine sees {engine} MiB of GPU {index} ({name}), where the driver tells of {driver} MiB: "
                    "the launch is planned with what the engine sees.",
                    index=gpu.index,
                    name=gpu.name,
                    engine=match.device.total_bytes // MIB,
                    driver=(gpu.total_memory_bytes or 0) // MIB,
                )
            )
    return tuple(warnings)


def _assumed(match: Match) -> Message | None:
    """That twins are told apart by what need not be so. What was free when the engine listed them may be as old as the
    last start of the machine.
    """
    gpu = match.card.gpu
    if match.rule is Rule.ORDER:
        return Message(
            "Nothing tells GPU {index} ({name}) from its twin in what this engine lists: by their order on the bus it "
            "is assumed to be {device}. The start will show whether it is.",
            index=gpu.index,
            name=gpu.name,
            device=match.device.name,
        )
    if match.rule is Rule.FREE:
        return Message(
            "Only what was free when this engine listed its devices tells GPU {index} ({name}) from its twin: it is "
            "assumed to be {device}. The start will show whether it is.",
            index=gpu.index,
            name=gpu.name,
            device=match.device.name,
        )
    return None


def _usable_bytes(reading: GpuReading, match: Match | None) -> int | None:
    """What the launch can have. Where the engine sees less than the driver, that is a limit; what was free when the
    engine listed it was another moment, and does not count. What cannot be free is never reckoned with: where the
    driver does not tell, what the GPU has and nobody is known to use.
    """
    free, total_bytes = free_bytes(reading), reading.gpu.total_memory_bytes
    is_limited = match is not None and match.card.sees_more_than(match.device)
    if match is not None and (is_limited or total_bytes is None):
        total_bytes = match.device.total_bytes
    if total_bytes is None or (free is not None and not is_limited):
        return free
    left = max(total_bytes - (reading.sample.used_memory_bytes or 0) - reading.promised_bytes, 0)
    return left if free is None else min(free, left)


@dataclass(frozen=True, slots=True)
class _Route:
    """How an engine gets to a GPU: its device's name, and whether the vendor's mask leads there."""

    name: str
    match: Match | None
    is_masked: bool = False


def _routes(engine: EngineInfo, gpus: Sequence[Gpu], machine: Machine) -> tuple[_Route, ...] | None:
    """The ways to all of these GPUs together, by one backend where that is possible; None where there are none.

    A process has one mask, so at most one vendor's GPUs are reached by it.
    """
    if not gpus:
        return ()
    vendors = list(dict.fromkeys(gpu.gpu_type for gpu in gpus))
    if not engine.gpu_types.issuperset(vendors):
        return None
    masked = [vendor for vendor in vendors if is_masked(engine, vendor)]
    if not listed(engine):  # nothing is known of it but that it has its vendors' own libraries
        return _mixed(engine, gpus, machine, frozenset(masked), {}) if len(masked) == len(vendors) else None
    if masked and len(vendors) == 1:
        return _mixed(engine, gpus, machine, frozenset(masked), {})
    if "--device" not in engine.flags:
        return None
    backends = dict.fromkeys(device.backend for device in listed(engine))
    unmasked = {
        backend: _not_hidden(engine, machine.matches(engine, backend))
        for backend in backends
        if backend not in _OUR_BACKENDS and backend != "RPC"
    }
    for matches in unmasked.values():
        if all(gpu.uuid in matches for gpu in gpus):
            return _mixed(engine, gpus, machine, frozenset(), matches)
    together = {uuid: match for matches in reversed(unmasked.values()) for uuid, match in matches.items()}
    for vendor in masked:
        if all(gpu.uuid in together for gpu in gpus if gpu.gpu_type is not vendor):
            return _mixed(engine, gpus, machine, frozenset({vendor}), together)
    return None


def _not_hidden(engine: EngineInfo, matches: Mapping[str, Match]) -> Mapping[str, Match]:
    """All devices are told apart first: a mask leaves the others what they are."""
    return {uuid: match for uuid, match in matches.items() if match.device.name not in engine.hidden_devices}


def _mixed(
    engine: EngineInfo,
    gpus: Sequence[Gpu],
    machine: Machine,
    masked: frozenset[GpuType],
    unmasked: Mapping[str, Match],
) -> tuple[_Route, ...]:
    """These vendors' GPUs by their mask, where the number is the place among those that it shows; the others by what
    they were found to be.
    """
    seen = {vendor: machine.matches(engine, MASKED_BACKENDS[vendor]) for vendor in masked}
    places = dict.fromkeys(masked, 0)
    routes = []
    for gpu in gpus:
        vendor = gpu.gpu_type
        if vendor in masked:
            name = f"{MASKED_BACKENDS[vendor]}{places[vendor]}"
            places[vendor] += 1
            routes.append(_Route(name, seen[vendor].get(gpu.uuid), is_masked=True))
        else:
            match = unmasked[gpu.uuid]
            routes.append(_Route(match.device.name, match))
    return tuple(routes)
