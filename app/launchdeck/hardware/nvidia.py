"""NVIDIA GPUs through NVML."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.hardware.idle import IdleRest
from launchdeck.hardware.memory import ram
from launchdeck.hardware.nvidia_proc import NvidiaProc
from launchdeck.hardware.nvml import GpuLostError, Nvml
from launchdeck.hardware.pci import NVIDIA_VENDOR, PciBus, normalise_address

_RETRY_LOST_S = 60.0
_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU, the sensor on the die
_GRAPHICS_CLOCK, _MEMORY_CLOCK = 0, 2  # NVML_CLOCK_GRAPHICS, NVML_CLOCK_MEM


@dataclass(slots=True)
class _Device:
    """An opened GPU, and those of its readings that are too dear to be taken with every sample."""

    gpu: Gpu
    handle: Any
    processes: tuple[GpuProcess, ...] = ()
    power_limit_watts: float | None = None
    fan_percent: int | None = None
    slow_due_s: float = float("-inf")


class NVMLDetector:
    """NVIDIA GPUs in PCI order. A sleeping GPU is listed and left alone; a lost one is looked for once a minute.

    Processes, the fan and the power limit are read every `slow_interval_s`: listing graphics processes can take 4.5 ms
    under a lock that all users of the driver share (MangoHud#2104), the fan takes ten times as long as the rest.
    """

    name = "NVMLDetector"
    gpu_type = GpuType.NVIDIA
    last_resort = False

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        slow_interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
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
        self._lost_at_s: float | None = None

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        self.step = Step(self.name, Outcome.EMPTY)
        cards = self._pci.graphics_cards(NVIDIA_VENDOR)
        if cards != self._cards or self._may_retry_lost():
            self.close()  # NVML knows only the GPUs that were there when it was opened
            for unplugged in set(self._cards) - set(cards):
                self._gpus.pop(unplugged, None)
            self._cards = cards
        if not self._rest.is_resting:
            self._open_awake()
        gpus = [replace(gpu, index=index) for index, (_, gpu) in enumerate(sorted(self._gpus.items()))]
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
        if _key(gpu) not in self._devices:
            self.get_gpu_list()  # it has just woken up
        device = self._devices.get(_key(gpu))
        try:
            sample = self._sample(device) if device else GpuSample(time.time(), state=GpuState.LOST)
        except GpuLostError:
            sample = GpuSample(time.time(), state=GpuState.LOST)
        if sample.state is GpuState.LOST and self._lost_at_s is None:
            self._lost_at_s = self._clock()
        return sample

    def close(self) -> None:
        self._devices.clear()
        self._awake = ()
        self._lost_at_s = None
        self._nvml.close()

    def _may_retry_lost(self) -> bool:
        return self._lost_at_s is not None and self._clock() - self._lost_at_s >= _RETRY_LOST_S

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
        for handle in self._handles(awake if asleep else None):
            self._add(handle)

    def _handles(self, addresses: tuple[str, ...] | None) -> list[Any]:
        """NVML's handles: all of them, or those at the given addresses, which leaves the other GPUs asleep."""
        if addresses is None:
            count = self._ask_unless_lost("", "nvmlDeviceGetCount") or 0
            handles = [self._ask_unless_lost(str(i), "nvmlDeviceGetHandleByIndex", i) for i in range(count)]
        else:
            handles = [self._ask_unless_lost(a, "nvmlDeviceGetHandleByPciBusId", a.encode()) for a in addresses]
        return [handle for handle in handles if handle is not None]

    def _ask_unless_lost(self, device: str, call: str, *arguments: Any) -> Any:
        try:
            return self._nvml.ask(device, call, *arguments)
        except GpuLostError:
            self._lost_at_s = self._clock()
            return None

    def _add(self, handle: Any) -> None:
        try:
            gpu = self._describe(handle)
        except GpuLostError:
            self._lost_at_s = self._clock()
            return
        self._gpus[_key(gpu)] = gpu
        self._devices[_key(gpu)] = _Device(gpu, handle)

    def _describe(self, handle: Any) -> Gpu:
        pci = self._nvml.ask("", "nvmlDeviceGetPciInfo", handle)
        address = None if pci is None else normalise_address(_text(pci.busId))
        uuid = _text(self._nvml.ask(address or "", "nvmlDeviceGetUUID", handle) or address or "nvidia")
        memory = self._nvml.memory(uuid, handle)
        shared = self._nvml.shares_ram(uuid, memory)
        memory = ram() if shared else memory
        return Gpu(
            index=0,  # its place is known when all are
            uuid=uuid,
            pci_address=address,
            name=_text(self._nvml.ask(uuid, "nvmlDeviceGetName", handle) or "NVIDIA GPU"),
            gpu_type=GpuType.NVIDIA,
            total_memory_bytes=memory.total_bytes if memory else None,
            driver_version=_text(self._nvml.ask("", "nvmlSystemGetDriverVersion") or "") or None,
            compute_capability=self._nvml.ask(uuid, "nvmlDeviceGetCudaComputeCapability", handle),
            integrated=shared,
        )

    def _sleeping_gpu(self, address: str) -> Gpu:
        uuid = self._proc.uuid(address) or address
        name = self._proc.name(address) or "NVIDIA GPU"
        return Gpu(0, uuid, address, name, GpuType.NVIDIA, total_memory_bytes=None)

    def _sample(self, device: _Device) -> GpuSample:
        uuid, handle = device.gpu.uuid, device.handle
        if self._clock() >= device.slow_due_s:
            self._read_slow(device)
        utilization = self._nvml.ask(uuid, "nvmlDeviceGetUtilizationRates", handle)
        memory = ram() if device.gpu.integrated else self._nvml.memory(uuid, handle)
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

    def _read_slow(self, device: _Device) -> None:
        uuid, handle = device.gpu.uuid, device.handle
        device.processes = self._nvml.processes(uuid, handle)
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


def _text(value: str | bytes) -> str:
    """Older releases of pynvml give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
