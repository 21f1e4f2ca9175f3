"""AMD GPUs through AMD's own library, amdsmi."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.amdgpu import Amdgpu, with_ram
from launchdeck.hardware.amdsmi_library import NOT_AVAILABLE, AmdSmi
from launchdeck.hardware.memory import Memory
from launchdeck.hardware.pci import normalise_address


@dataclass(slots=True)
class _Device:
    """An opened GPU, and its processes, which are not read with every sample."""

    gpu: Gpu
    handle: Any
    processes: tuple[GpuProcess, ...] = ()
    slow_due_s: float = float("-inf")


class AMDSMIDetector:
    """AMD GPUs with all that the library measures. While a card sleeps, the library is not opened: that wakes all."""

    name = "AMDSMIDetector"
    gpu_type = GpuType.AMD
    last_resort = False

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        environ: Mapping[str, str] = os.environ,
        slow_interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._slow_interval_s = slow_interval_s
        self._clock = clock
        self._smi = AmdSmi(environ)
        self._amdgpu = Amdgpu(root, clock)
        self._cards: tuple[str, ...] = ()
        self._devices: dict[str, _Device] = {}

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        cards = self._amdgpu.cards()
        if cards != self._cards:
            self.close()  # the library knows only the cards that were there when it was opened
            self._cards = cards
        if not self._smi.is_open and not self._open():
            return []
        self.step = Step(self.name, Outcome.FOUND if self._devices else Outcome.EMPTY)
        return [device.gpu for device in self._devices.values()]

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        card = gpu.pci_address or ""
        if self._amdgpu.leaves_alone(card):
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if card not in self._devices:
            self.get_gpu_list()  # the library was closed
        device = self._devices.get(card)
        if device is None:
            return GpuSample(time.time(), state=GpuState.LOST)
        sample = self._sample(card, device)
        self._amdgpu.note(card, sample)
        return sample

    def close(self) -> None:
        self._devices.clear()
        self._smi.close()

    def _open(self) -> bool:
        if not self._cards:
            self.step = Step(self.name, Outcome.EMPTY)
            return False
        if any(map(self._amdgpu.is_asleep, self._cards)):
            self.step = Step(self.name, Outcome.SKIPPED, Message("An AMD GPU is asleep, and this would wake it."))
            return False
        if problem := self._smi.open():
            self.step = Step(self.name, *problem)
            return False
        for handle in self._smi.ask("", "amdsmi_get_processor_handles") or ():
            address = normalise_address(self._smi.ask("", "amdsmi_get_gpu_device_bdf", handle) or "")
            if address is not None:
                self._devices[address] = _Device(self._describe(address, handle), handle)
        return True

    def _describe(self, card: str, handle: Any) -> Gpu:
        integrated = self._amdgpu.is_integrated(card)
        memory = self._memory(card, handle, integrated=integrated)
        uuid = self._smi.text(card, "amdsmi_get_gpu_enumeration_info", handle, "hip_uuid")
        return Gpu(
            index=len(self._devices),
            uuid=uuid or self._amdgpu.uuid(card) or card,
            pci_address=card,
            name=self._smi.text(card, "amdsmi_get_gpu_asic_info", handle, "market_name") or self._amdgpu.name(card),
            gpu_type=GpuType.AMD,
            total_memory_bytes=memory.total_bytes if memory else None,
            driver_version=self._smi.text(card, "amdsmi_get_gpu_driver_info", handle, "driver_version"),
            integrated=integrated,
        )

    def _sample(self, card: str, device: _Device) -> GpuSample:
        handle = device.handle
        if self._clock() >= device.slow_due_s:
            device.processes = self._processes(card, device)
            device.slow_due_s = self._clock() + self._slow_interval_s
        memory = self._memory(card, handle, integrated=device.gpu.integrated)
        return GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes if memory else None,
            free_memory_bytes=memory.free_bytes if memory else None,
            utilization_percent=self._smi.number(card, "amdsmi_get_gpu_activity", handle, "gfx_activity"),
            temperature_c=self._temperature_c(card, handle),
            power_watts=self._smi.number(
                card, "amdsmi_get_power_info", handle, "current_socket_power", "average_socket_power"
            ),
            power_limit_watts=self._amdgpu.power_limit_watts(card),
            processes=device.processes,
        )

    def _memory(self, card: str, handle: Any, *, integrated: bool) -> Memory | None:
        vram = self._pool(card, handle, "VRAM")
        return with_ram(vram, self._pool(card, handle, "GTT")) if vram and integrated else vram

    def _pool(self, card: str, handle: Any, name: str) -> Memory | None:
        kind = self._smi.constant("AmdSmiMemoryType", name)
        total_bytes = self._smi.ask(card, "amdsmi_get_gpu_memory_total", handle, kind)
        used_bytes = self._smi.ask(card, "amdsmi_get_gpu_memory_usage", handle, kind)
        if not total_bytes or used_bytes is None:
            return None
        return Memory(total_bytes, used_bytes, max(total_bytes - used_bytes, 0))

    def _temperature_c(self, card: str, handle: Any) -> int | None:
        """At the edge of the die; Instinct cards measure only at its hottest spot."""
        current = self._smi.constant("AmdSmiTemperatureMetric", "CURRENT")
        for sensor in ("EDGE", "HOTSPOT"):
            place = self._smi.constant("AmdSmiTemperatureType", sensor)
            celsius = self._smi.ask(card, "amdsmi_get_temp_metric", handle, place, current)
            if isinstance(celsius, int):
                return celsius
        return None

    def _processes(self, card: str, device: _Device) -> tuple[GpuProcess, ...]:
        """A process on an APU has its memory in the RAM that the GPU may use (GTT)."""
        pools = ("vram_mem", "gtt_mem") if device.gpu.integrated else ("vram_mem",)
        entries = self._smi.ask(card, "amdsmi_get_gpu_process_list", device.handle) or ()
        processes = (
            _process(entry, pools) for entry in entries if isinstance(entry, dict)
        )  # older modules give handles
        return tuple(sorted(processes, key=lambda process: process.pid))


def _process(entry: dict[str, Any], pools: tuple[str, ...]) -> GpuProcess:
    sizes = [(entry.get("memory_usage") or {}).get(pool) for pool in pools]
    known = [size for size in sizes if isinstance(size, int)]
    name = entry.get("name", NOT_AVAILABLE)
    return GpuProcess(entry["pid"], "" if name == NOT_AVAILABLE else name, sum(known) if known else None)
