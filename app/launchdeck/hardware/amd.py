"""AMD GPUs through AMD's own library, amdsmi."""

from __future__ import annotations

import os
import re
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

_HIP_UUID = re.compile(r"GPU-[0-9a-f]{16}")


@dataclass(slots=True)
class _Device:
    """An opened GPU, and those of its readings that are not taken with every sample."""

    gpu: Gpu
    handle: Any
    processes: tuple[GpuProcess, ...] = ()
    power_limit_watts: float | None = None
    fan_percent: int | None = None
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
        gpus = [device.gpu for device in self._devices.values()]
        version = next((gpu.driver_version for gpu in gpus if gpu.driver_version), None)
        self.step = Step(self.name, Outcome.FOUND if gpus else Outcome.EMPTY, version=version)
        return gpus

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
        if not self._devices:
            self._smi.close()  # so that a card that is plugged in later is seen
            self.step = Step(self.name, Outcome.EMPTY)
        return bool(self._devices)

    def _describe(self, card: str, handle: Any) -> Gpu:
        integrated = self._amdgpu.is_integrated(card)
        memory = self._memory(card, handle, integrated=integrated)
        uuid = self._smi.text(card, "amdsmi_get_gpu_enumeration_info", handle, "hip_uuid")
        if uuid is not None and not _HIP_UUID.fullmatch(uuid):
            uuid = None  # integrated GPUs have no number of their own: HIP calls every one of them GPU-XX
        return Gpu(
            index=len(self._devices),
            uuid=uuid or self._amdgpu.uuid(card) or card,
            pci_address=card,
            name=self._smi.text(card, "amdsmi_get_gpu_asic_info", handle, "market_name") or self._amdgpu.name(card),
            gpu_type=GpuType.AMD,
            total_memory_bytes=memory.total_bytes if memory else None,
            driver_version=self._smi.text(card, "amdsmi_get_gpu_driver_info", handle, "driver_version"),
            integrated=integrated,
            hip_id=self._smi.number(card, "amdsmi_get_gpu_enumeration_info", (handle,), "hip_id"),
            gfx_target=self._gfx_target(card, handle),
        )

    def _gfx_target(self, card: str, handle: Any) -> str | None:
        """A library that does not know the number says gfx0."""
        target = self._smi.text(card, "amdsmi_get_gpu_asic_info", handle, "target_graphics_version")
        return None if target == "gfx0" else target

    def _sample(self, card: str, device: _Device) -> GpuSample:
        handle = device.handle
        if self._clock() >= device.slow_due_s:
            self._read_slow(card, device)
        memory = self._memory(card, handle, integrated=device.gpu.integrated)
        return GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes if memory else None,
            free_memory_bytes=memory.free_bytes if memory else None,
            utilization_percent=self._smi.number(card, "amdsmi_get_gpu_activity", (handle,), "gfx_activity"),
            temperature_c=self._temperature_c(card, handle),
            power_watts=self._smi.number(
                card, "amdsmi_get_power_info", (handle,), "current_socket_power", "average_socket_power"
            ),
            power_limit_watts=device.power_limit_watts,
            graphics_clock_mhz=self._clock_mhz(card, handle, "GFX"),
            memory_clock_mhz=self._clock_mhz(card, handle, "MEM"),
            fan_percent=device.fan_percent,
            processes=device.processes,
        )

    def _read_slow(self, card: str, device: _Device) -> None:
        device.processes = self._processes(card, device)
        device.power_limit_watts = self._amdgpu.power_limit_watts(card) or self._power_cap_watts(card, device.handle)
        device.fan_percent = self._fan_percent(card, device.handle)
        device.slow_due_s = self._clock() + self._slow_interval_s

    def _power_cap_watts(self, card: str, handle: Any) -> float | None:
        microwatts = (self._smi.ask(card, "amdsmi_get_power_cap_info", handle) or {}).get("power_cap")
        return microwatts / 1_000_000 if isinstance(microwatts, int) and microwatts else None

    def _clock_mhz(self, card: str, handle: Any, name: str) -> int | None:
        kind = self._smi.constant("AmdSmiClkType", name)
        return self._smi.number(card, "amdsmi_get_clock_info", (handle, kind), "clk")

    def _fan_percent(self, card: str, handle: Any) -> int | None:
        """The library counts in steps, mostly 255 of them. Cards with a cooler of the case's have no fan."""
        speed = self._smi.ask(card, "amdsmi_get_gpu_fan_speed", handle, 0)
        fastest = self._smi.ask(card, "amdsmi_get_gpu_fan_speed_max", handle, 0) if isinstance(speed, int) else None
        return round(100 * speed / fastest) if fastest else None

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
