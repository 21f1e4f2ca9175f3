"""NVIDIA GPUs through NVML."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.bus_order import by_bus, counted_place, unidentified
from launchdeck.hardware.idle import IdleRest
from launchdeck.hardware.memory import has_changed, ram
from launchdeck.hardware.nvidia import memory as nvidia_memory
from launchdeck.hardware.nvidia import mig
from launchdeck.hardware.nvidia.census import Census
from launchdeck.hardware.nvidia.nvml import GpuLostError, Nvml, text
from launchdeck.hardware.nvidia.proc import NvidiaProc
from launchdeck.hardware.nvidia.process_names import ProcessNames
from launchdeck.hardware.owner_thread import OwnerThread, StalledError
from launchdeck.hardware.pci import NVIDIA_VENDOR, PciBus, joined, normalise_address

logger = logging.getLogger(__name__)

_RETRY_LOST_S = 60.0
_COUNTING_PATIENCE_S = 0.25
_MOST_GPUS = 64  # where the driver does not count them
_UNNAMED = "NVIDIA GPU"
_UNCOUNTED = Message("The NVIDIA driver does not say how many GPUs it has: those that answer are listed.")
_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU, the sensor on the die
_GRAPHICS_CLOCK, _MEMORY_CLOCK = 0, 2  # NVML_CLOCK_GRAPHICS, NVML_CLOCK_MEM


@dataclass(slots=True)
class _Device:
    """An opened GPU, and those of its readings that are too dear to be taken with every sample. `used_memory_bytes` is
    what all processes held together when they were listed. `set_aside_bytes`: see `nvidia_memory`.
    """

    gpu: Gpu
    handle: Any
    set_aside_bytes: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    used_memory_bytes: int = 0
    has_measured: bool = False
    power_limit_watts: float | None = None
    fan_percent: int | None = None
    slow_due_s: float = float("-inf")
    names: ProcessNames = field(default_factory=ProcessNames)


class NVMLDetector:
    """NVIDIA GPUs in PCI order. A sleeping GPU is listed and left alone. A lost one that does not come back by itself
    is looked for once a minute; where all are lost, because their driver was reloaded, with every list.

    Processes, the fan and the power limit are read every `slow_interval_s`: listing graphics processes can take 4.5 ms
    under a lock that all users of the driver share (MangoHud#2104), the fan takes ten times as long as the rest. Where
    the memory in use has changed, processes are listed at once: what a model holds is known as soon as it is there.
    """

    name = "NVMLDetector"
    gpu_type = GpuType.NVIDIA
    last_resort = False

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        slow_interval_s: float = 10.0,
        opening_patience_s: float = 5.0,
        counting_patience_s: float = _COUNTING_PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._opening_patience_s = opening_patience_s
        self._slow_interval_s = slow_interval_s
        self._clock = clock
        self._nvml = Nvml()
        self._census = Census(self._nvml, counting_patience_s)
        self._root = root
        self._pci = PciBus(root)
        self._proc = NvidiaProc(root)
        self._rest = IdleRest(clock)
        self._cards: tuple[str, ...] = ()
        self._awake: tuple[str, ...] | None = None
        self._may_rest = False
        self._gpus: dict[str, Gpu] = {}
        self._devices: dict[str, _Device] = {}
        self._cards_opened: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._lost: set[str] = set()
        self._lost_at_s = float("-inf")

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        self.step = Step(self.name, Outcome.EMPTY)
        bus = self._pci.look(NVIDIA_VENDOR)
        cards = bus.cards
        if cards != self._cards or self._may_retry_lost() or self._census.has_changed():
            self.close()  # NVML knows only the GPUs that were there when it was opened
            unplugged = set(self._cards) - set(cards)
            self._gpus = {key: gpu for key, gpu in self._gpus.items() if gpu.pci_address not in unplugged}
            self._cards = cards
        if not self._rest.is_resting:
            self._open_awake()
        self._follow_the_ram()
        gpus = [replace(gpu, index=index) for index, gpu in enumerate(self._in_order())]
        if gpus and self.step.outcome is Outcome.EMPTY:
            version = next((gpu.driver_version for gpu in gpus if gpu.driver_version), None)
            self.step = Step(self.name, Outcome.FOUND, version=version)
        uncounted = None if self._census.counts else _UNCOUNTED
        self.step = replace(self.step, reason=joined(self.step.reason, uncounted, bus.left_out))
        return gpus

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        if self._pci.is_asleep(gpu.pci_address):
            self._rest.note_sleep()
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if self._rest.is_resting:
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if gpu.key not in self._devices and gpu.key not in self._lost:
            self.get_gpu_list()  # it has just woken up
        device = self._devices.get(gpu.key)
        try:
            sample = self._sample(device) if device else GpuSample(time.time(), state=GpuState.LOST)
        except GpuLostError:
            sample = GpuSample(time.time(), state=GpuState.LOST)
        self._note_lost(gpu.key, is_lost=sample.state is GpuState.LOST)
        return sample

    def close(self) -> None:
        self._devices = {}  # whoever is still opening one has the old ones
        self._gpus = {key: gpu for key, gpu in self._gpus.items() if _outlasts_its_driver(gpu)}
        self._cards_opened = {}
        self._awake = None
        self._lost.clear()
        self._census.forget()
        if not self._census.is_asking:
            self._nvml.close()

    def _note_lost(self, key: str, *, is_lost: bool) -> None:
        if not is_lost:
            self._lost.discard(key)
            return
        if not self._lost:
            self._lost_at_s = self._clock()
        self._lost.add(key)

    def _may_retry_lost(self) -> bool:
        """Opening the library anew disturbs the GPUs that answer."""
        if not self._lost:
            return False
        return self._devices.keys() <= self._lost or self._clock() - self._lost_at_s >= _RETRY_LOST_S

    def _in_order(self) -> tuple[Gpu, ...]:
        places = {key: int(name) for name, key in self._keys.items() if name.isdecimal()}
        return by_bus(list(self._gpus.values()), places)

    def _follow_the_ram(self) -> None:
        """What we may have of the RAM can change at any time."""
        for device in list(self._devices.values()):  # one that was slow may be added in its thread
            if device.set_aside_bytes is not None:
                self._note_total(device, device.set_aside_bytes + ram(self._root).total_bytes)

    def _note_total(self, device: _Device, total_bytes: int) -> None:
        device.gpu = self._gpus[device.gpu.key] = replace(device.gpu, total_memory_bytes=total_bytes)

    def _open_awake(self) -> None:
        """Open the GPUs that are awake; those that sleep are known by what the kernel tells of them."""
        asleep = {card for card in self._cards if self._pci.is_asleep(card)}
        for card in asleep - self._gpus.keys():
            self._gpus[card] = self._sleeping_gpu(card)
        awake = tuple(card for card in self._cards if card not in asleep)
        if asleep and not awake:
            return
        if self._nvml.is_open and awake == self._awake:
            return
        if not self._nvml.is_open and (problem := self._nvml.open()):
            self.step = Step(self.name, *problem)
            return
        self._awake = awake
        self._may_rest = bool(awake) and all(map(self._proc.may_sleep, awake))
        count = None if asleep else self._census.count()
        addresses = awake or (self._proc.addresses() if count is None else ())
        if count is None and addresses:
            for address in addresses:
                self._open_gpu(address, "nvmlDeviceGetHandleByPciBusId", address.encode())
        else:
            self._open_by_number(count)
        if not asleep and count is None:
            count = len(self._cards_opened) + len(self._lost.intersection(self._keys.values()))
        self._census.begin(count, self._cards_opened, self._layouts())

    def _layouts(self) -> dict[str, tuple[str, ...]]:
        """The slices of every card that is divided."""
        layouts: dict[str, tuple[str, ...]] = {}
        for device in list(self._devices.values()):
            divided = device.gpu.slice_of
            if divided is not None:
                layouts[divided] = (*layouts.get(divided, ()), device.gpu.uuid)
            elif device.gpu.problem is not None:
                layouts[device.gpu.uuid] = ()
        return layouts

    def _open_by_number(self, count: int | None) -> None:
        """NVML counts in the order of the bus; in a container it may have fewer GPUs than the kernel shows. Where it
        does not say how many there are, it is asked until there is none: beyond those that are known, one that neither
        answers nor says which it is.
        """
        known = self._awake or self._proc.addresses()
        if count is not None and count != len(self._keys):
            self._keys = {}
        counted_before = sum(name.isdecimal() for name in self._keys)
        for place in range(_MOST_GPUS if count is None else count):
            name = known[place] if len(known) == count else str(place)
            self._open_gpu(name, "nvmlDeviceGetHandleByIndex", place)
            if count is None and place >= counted_before and not self._is_there(name):
                self._gpus.pop(self._keys.pop(name, ""), None)
                return

    def _is_there(self, name: str) -> bool:
        key = self._keys.get(name)
        return key is not None and (key not in self._lost or _outlasts_its_driver(self._gpus[key]))

    def _unless_lost(self, device: str, call: str, *arguments: Any) -> Any:
        try:
            return self._nvml.ask(device, call, *arguments)
        except GpuLostError:
            return None

    def _open_gpu(self, name: str, call: str, argument: int | bytes) -> None:
        """In a thread of its own: a GPU that hangs when it is opened must not hide the others. It is listed as soon as
        it answers.
        """
        thread, devices = OwnerThread(f"{self.name} {name}"), self._devices
        try:
            thread.call(lambda: self._add(devices, name, call, argument), self._opening_patience_s)
        except StalledError:
            logger.warning("NVIDIA GPU %s has not answered for %g s.", name, self._opening_patience_s)
        finally:
            thread.end()

    def _add(self, devices: dict[str, _Device], name: str, call: str, argument: int | bytes) -> None:
        """One that is lost already is listed at its place."""
        handle, is_lost = None, False
        try:
            handle = self._nvml.handle(name, call, argument)
            if handle is None:
                return
            card, set_aside_bytes = self._describe(name, handle)
            opened = mig.devices(self._nvml, card, handle)
        except GpuLostError:
            card, set_aside_bytes, is_lost = self._lost_gpu(name, handle), None, True
            opened = [(card, handle)]
        if devices is not self._devices:
            return  # it took so long that the library has been closed since
        self._keys[name] = card.key
        if handle is not None and not is_lost:
            self._cards_opened[card.uuid] = handle
        self._gpus = {key: gpu for key, gpu in self._gpus.items() if key != card.key and gpu.slice_of != card.uuid}
        for gpu, own_handle in opened:
            self._note_lost(gpu.key, is_lost=is_lost)
            if own_handle is not None:
                devices[gpu.key] = _Device(gpu, own_handle, set_aside_bytes if gpu.integrated else None)
            self._gpus[gpu.key] = gpu

    def _describe(self, opened_by: str, handle: Any) -> tuple[Gpu, int | None]:
        """The GPU, and how much of the RAM is set aside for it."""
        address = _address(self._nvml.ask(opened_by, "nvmlDeviceGetPciInfo", handle)) or normalise_address(opened_by)
        uuid = (
            text(self._nvml.ask(address or opened_by, "nvmlDeviceGetUUID", handle))
            or address
            or unidentified(GpuType.NVIDIA, opened_by)
        )
        name = text(self._nvml.ask(uuid, "nvmlDeviceGetName", handle))
        told = self._nvml.memory(uuid, handle)
        set_aside_bytes = nvidia_memory.set_aside_bytes(self._nvml, uuid, told, name)
        memory = nvidia_memory.memory(told, set_aside_bytes, self._root)
        gpu = Gpu(
            index=0,  # its place is known when all are
            uuid=uuid,
            pci_address=address,
            name=name or _UNNAMED,
            gpu_type=GpuType.NVIDIA,
            total_memory_bytes=memory.total_bytes if memory else None,
            driver_version=text(self._nvml.ask("", "nvmlSystemGetDriverVersion")) or None,
            compute_capability=self._nvml.ask(uuid, "nvmlDeviceGetCudaComputeCapability", handle),
            integrated=set_aside_bytes is not None,
        )
        return gpu, set_aside_bytes

    def _lost_gpu(self, name: str, handle: Any) -> Gpu:
        """As it was known, or by what is left of it."""
        address, uuid, own_name = normalise_address(name), None, None
        if handle is not None:
            address = _address(self._unless_lost(name, "nvmlDeviceGetPciInfo", handle)) or address
            uuid = text(self._unless_lost(name, "nvmlDeviceGetUUID", handle))
            own_name = text(self._unless_lost(name, "nvmlDeviceGetName", handle))
        if known := self._gpus.get(address or uuid or self._keys.get(name, "")):
            return known
        left = (
            self._sleeping_gpu(address)
            if address
            else Gpu(0, unidentified(GpuType.NVIDIA, name), None, _UNNAMED, GpuType.NVIDIA, None)
        )
        return replace(left, uuid=uuid or left.uuid, name=own_name or left.name)

    def _sleeping_gpu(self, address: str) -> Gpu:
        uuid = self._proc.uuid(address) or address
        name = self._proc.name(address) or _UNNAMED
        return Gpu(0, uuid, address, name, GpuType.NVIDIA, total_memory_bytes=None)

    def _sample(self, device: _Device) -> GpuSample:
        uuid, handle = device.gpu.uuid, device.handle
        self._nvml.count_anew(uuid)
        utilization = None if device.gpu.slice_of else self._nvml.ask(uuid, "nvmlDeviceGetUtilizationRates", handle)
        memory = nvidia_memory.memory(self._nvml.memory(uuid, handle), device.set_aside_bytes, self._root)
        if memory is not None and device.gpu.total_memory_bytes is None:
            self._note_total(device, memory.total_bytes)
        self._read_slow(device, 0 if device.gpu.integrated or memory is None else memory.used_bytes)
        sample = GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes if memory else None,
            free_memory_bytes=memory.free_bytes if memory else None,
            utilization_percent=utilization.gpu if utilization else None,
            temperature_c=self._nvml.ask(uuid, "nvmlDeviceGetTemperature", handle, _TEMPERATURE_GPU),
            power_watts=_watts(self._nvml.ask(uuid, "nvmlDeviceGetPowerUsage", handle)),
            power_limit_watts=device.power_limit_watts,
            graphics_clock_mhz=self._nvml.ask(uuid, "nvmlDeviceGetClockInfo", handle, _GRAPHICS_CLOCK),
            memory_clock_mhz=self._nvml.ask(uuid, "nvmlDeviceGetClockInfo", handle, _MEMORY_CLOCK),
            fan_percent=device.fan_percent,
            processes=device.processes,
        )
        if not self._nvml.answers_nothing(uuid):
            device.has_measured = True
        elif device.has_measured or device.gpu.name == _UNNAMED:
            raise GpuLostError(uuid)  # one that says what it is and has never measured anything is there
        self._let_sleep(sample)
        return sample

    def _read_slow(self, device: _Device, used_bytes: int) -> None:
        uuid, handle = device.gpu.uuid, device.handle
        is_due = self._clock() >= device.slow_due_s
        if is_due or has_changed(device.used_memory_bytes, used_bytes):
            device.processes, device.used_memory_bytes = self._nvml.processes(uuid, handle, device.names), used_bytes
        if not is_due:
            return
        device.power_limit_watts = _watts(self._nvml.ask(uuid, "nvmlDeviceGetEnforcedPowerLimit", handle))
        device.fan_percent = self._nvml.ask(uuid, "nvmlDeviceGetFanSpeed", handle)
        device.slow_due_s = self._clock() + self._slow_interval_s

    def _let_sleep(self, sample: GpuSample) -> None:
        if sample.utilization_percent or sample.processes or not self._may_rest:
            self._rest.note_work()
        elif self._rest.begins():
            self.close()


def _outlasts_its_driver(gpu: Gpu) -> bool:
    """Slices may be made anew, and one that never said what it is may be any, when the driver is opened again."""
    return gpu.slice_of is None and counted_place(gpu) is None


def _address(pci: Any) -> str | None:
    return normalise_address(text(getattr(pci, "busId", None)))


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
