"""NVIDIA GPUs through NVML."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.hardware.idle import IdleRest
from launchdeck.hardware.memory import has_changed, ram
from launchdeck.hardware.nvidia_proc import NvidiaProc
from launchdeck.hardware.nvml import GpuLostError, Nvml
from launchdeck.hardware.owner_thread import OwnerThread, StalledError
from launchdeck.hardware.pci import NVIDIA_VENDOR, PciBus, normalise_address

logger = logging.getLogger(__name__)

_RETRY_LOST_S = 60.0
_UNNAMED = "NVIDIA GPU"
_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU, the sensor on the die
_GRAPHICS_CLOCK, _MEMORY_CLOCK = 0, 2  # NVML_CLOCK_GRAPHICS, NVML_CLOCK_MEM


@dataclass(slots=True)
class _Device:
    """An opened GPU, and those of its readings that are too dear to be taken with every sample. `used_memory_bytes` is
    what all processes held together when they were listed.
    """

    gpu: Gpu
    handle: Any
    processes: tuple[GpuProcess, ...] = ()
    used_memory_bytes: int = 0
    power_limit_watts: float | None = None
    fan_percent: int | None = None
    slow_due_s: float = float("-inf")


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._opening_patience_s = opening_patience_s
        self._slow_interval_s = slow_interval_s
        self._clock = clock
        self._nvml = Nvml()
        self._pci = PciBus(root)
        self._proc = NvidiaProc(root)
        self._rest = IdleRest(clock)
        self._cards: tuple[str, ...] = ()
        self._awake: tuple[str, ...] = ()
        self._may_rest = False
        self._gpus: dict[str, Gpu] = {}
        self._devices: dict[str, _Device] = {}
        self._lost: set[str] = set()
        self._lost_at_s = float("-inf")
        self._count: int | None = None

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        self.step = Step(self.name, Outcome.EMPTY)
        cards = self._pci.graphics_cards(NVIDIA_VENDOR)
        if cards != self._cards or self._may_retry_lost() or self._has_other_count():
            self.close()  # NVML knows only the GPUs that were there when it was opened
            for unplugged in set(self._cards) - set(cards):
                self._gpus.pop(unplugged, None)
            self._cards = cards
        if not self._rest.is_resting:
            self._open_awake()
        in_order = sorted(self._gpus.values(), key=lambda gpu: gpu.pci_address or "")
        gpus = [replace(gpu, index=index) for index, gpu in enumerate(in_order)]
        if gpus and self.step.outcome is Outcome.EMPTY:
            version = next((gpu.driver_version for gpu in gpus if gpu.driver_version), None)
            self.step = Step(self.name, Outcome.FOUND, version=version)
        return gpus

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        if self._pci.is_asleep(gpu.pci_address):
            self._rest.note_sleep()
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if self._rest.is_resting:
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if _key(gpu) not in self._devices and _key(gpu) not in self._lost:
            self.get_gpu_list()  # it has just woken up
        device = self._devices.get(_key(gpu))
        try:
            sample = self._sample(device) if device else GpuSample(time.time(), state=GpuState.LOST)
        except GpuLostError:
            sample = GpuSample(time.time(), state=GpuState.LOST)
        self._note_lost(_key(gpu), is_lost=sample.state is GpuState.LOST)
        return sample

    def close(self) -> None:
        self._devices = {}  # whoever is still opening one has the old ones
        self._awake = ()
        self._lost.clear()
        self._count = None
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

    def _has_other_count(self) -> bool:
        """Whether the driver has other GPUs than when it was opened; where the kernel shows cards, it says so first."""
        return self._count is not None and self._unless_lost("", "nvmlDeviceGetCount") not in {None, self._count}

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
        if asleep:
            for address in awake:
                self._open_gpu(address, "nvmlDeviceGetHandleByPciBusId", address.encode())
            return
        self._count = self._unless_lost("", "nvmlDeviceGetCount") or 0
        for place in range(self._count):
            # NVML counts in the order of the bus; in a container it may have fewer GPUs than the kernel shows.
            name = awake[place] if len(awake) == self._count else str(place)
            self._open_gpu(name, "nvmlDeviceGetHandleByIndex", place)

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
        """One that is lost already is listed where something is left to know it by."""
        handle, is_lost = None, False
        try:
            handle = self._nvml.ask(name, call, argument)
            if handle is None:
                return
            gpu = self._describe(name, handle)
        except GpuLostError:
            gpu, is_lost = self._lost_gpu(name, handle), True
        if devices is not self._devices:
            return  # it took so long that the library has been closed since
        self._note_lost(_key(gpu), is_lost=is_lost)
        if handle is not None:
            devices[_key(gpu)] = _Device(gpu, handle)
        if handle is not None or gpu.pci_address is not None:
            self._gpus[_key(gpu)] = gpu

    def _describe(self, name: str, handle: Any) -> Gpu:
        address = _address(self._nvml.ask(name, "nvmlDeviceGetPciInfo", handle))
        uuid = _text(self._nvml.ask(address or name, "nvmlDeviceGetUUID", handle)) or address or f"nvidia-{name}"
        memory = self._nvml.memory(uuid, handle)
        shared = self._nvml.shares_ram(uuid, memory)
        memory = ram() if shared else memory
        return Gpu(
            index=0,  # its place is known when all are
            uuid=uuid,
            pci_address=address,
            name=_text(self._nvml.ask(uuid, "nvmlDeviceGetName", handle)) or _UNNAMED,
            gpu_type=GpuType.NVIDIA,
            total_memory_bytes=memory.total_bytes if memory else None,
            driver_version=_text(self._nvml.ask("", "nvmlSystemGetDriverVersion")) or None,
            compute_capability=self._nvml.ask(uuid, "nvmlDeviceGetCudaComputeCapability", handle),
            integrated=shared,
        )

    def _lost_gpu(self, name: str, handle: Any) -> Gpu:
        """As it was known, or by what is left of it."""
        address, uuid, own_name = normalise_address(name), None, None
        if handle is not None:
            address = _address(self._unless_lost(name, "nvmlDeviceGetPciInfo", handle)) or address
            uuid = _text(self._unless_lost(name, "nvmlDeviceGetUUID", handle))
            own_name = _text(self._unless_lost(name, "nvmlDeviceGetName", handle))
        if known := self._gpus.get(address or uuid or ""):
            return known
        left = (
            self._sleeping_gpu(address) if address else Gpu(0, f"nvidia-{name}", None, _UNNAMED, GpuType.NVIDIA, None)
        )
        return replace(left, uuid=uuid or left.uuid, name=own_name or left.name)

    def _sleeping_gpu(self, address: str) -> Gpu:
        uuid = self._proc.uuid(address) or address
        name = self._proc.name(address) or _UNNAMED
        return Gpu(0, uuid, address, name, GpuType.NVIDIA, total_memory_bytes=None)

    def _sample(self, device: _Device) -> GpuSample:
        uuid, handle = device.gpu.uuid, device.handle
        utilization = self._nvml.ask(uuid, "nvmlDeviceGetUtilizationRates", handle)
        memory = ram() if device.gpu.integrated else self._nvml.memory(uuid, handle)
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
        self._let_sleep(sample)
        return sample

    def _read_slow(self, device: _Device, used_bytes: int) -> None:
        uuid, handle = device.gpu.uuid, device.handle
        is_due = self._clock() >= device.slow_due_s
        if is_due or has_changed(device.used_memory_bytes, used_bytes):
            device.processes, device.used_memory_bytes = self._nvml.processes(uuid, handle), used_bytes
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


def _key(gpu: Gpu) -> str:
    return gpu.pci_address or gpu.uuid


def _address(pci: Any) -> str | None:
    return normalise_address(_text(getattr(pci, "busId", None)))


def _text(value: str | bytes | None) -> str:
    """Older releases of pynvml give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
