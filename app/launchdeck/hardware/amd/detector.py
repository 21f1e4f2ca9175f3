"""AMD GPUs through AMD's own library, amdsmi."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.domain.text import Message
from launchdeck.domain.units import MIB
from launchdeck.hardware.amd import partitions
from launchdeck.hardware.amd.amdgpu import Amdgpu
from launchdeck.hardware.amd.amdsmi_library import NOT_AVAILABLE, AmdSmi, as_number
from launchdeck.hardware.bus_order import unidentified
from launchdeck.hardware.memory import Memory, has_changed
from launchdeck.hardware.pci import normalise_address

_DECIMAL_PAGE = 4000
_DELETED = " (deleted)"  # the kernel's word for a program whose file has been replaced
_HIP_UUID = re.compile(r"GPU-[0-9a-f]{16}")


@dataclass(slots=True)
class _Device:
    """An opened GPU, and those of its readings that are not taken with every sample. `used_memory_bytes` is what all
    processes held together when they were listed. `sharers` are the GPUs that share its memory, itself among them.
    """

    gpu: Gpu
    handle: Any
    sharers: int = 1
    processes: tuple[GpuProcess, ...] = ()
    used_memory_bytes: int = 0
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
        self._handle_count = 0
        self._devices: dict[str, _Device] = {}
        self._is_exact = False  # whether the library has ever told a size that cannot be in thousands of bytes

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        cards = self._amdgpu.look().cards
        if cards != self._cards or self._has_other_count():
            self.close()  # the library knows only the cards that were there when it was opened
            self._cards = cards
        if not self._smi.is_open and not self._open():
            return []
        self._follow_the_ram()
        gpus = [device.gpu for device in self._devices.values()]
        version = next((gpu.driver_version for gpu in gpus if gpu.driver_version), None)
        self.step = Step(self.name, Outcome.FOUND if gpus else Outcome.EMPTY, version=version)
        return gpus

    def _follow_the_ram(self) -> None:
        """How much of the RAM we may have can change at any time."""
        for card, device in self._devices.items():
            if device.gpu.integrated and not self._amdgpu.leaves_alone(card):
                memory = self._memory(card, device.handle, device.sharers, integrated=True)
                device.gpu = (
                    device.gpu if memory is None else replace(device.gpu, total_memory_bytes=memory.total_bytes)
                )

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        card = gpu.key
        if self._amdgpu.leaves_alone(card):
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if card not in self._devices:
            self.get_gpu_list()  # the library was closed
        device = self._devices.get(card)
        if device is None or (card in self._cards and not self._amdgpu.is_there(card)):
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
        handles = self._handles()
        self._handle_count = len(handles)
        addresses = [self._address(place, handle) for place, handle in enumerate(handles)]
        packages = partitions.siblings(addresses, self._cards)
        for place, (address, handle) in enumerate(zip(addresses, handles, strict=True)):
            if address is None and self._cards:
                continue  # it is one of the kernel's, which tells of it by its address
            siblings = 1 if address is None else packages[partitions.package(address)]
            sharers = 1 if address is None else self._sharers(address, handle, siblings)
            gpu = self._describe(place, address, handle, siblings, sharers)
            self._devices[gpu.key] = _Device(gpu, handle, sharers)
        if not self._devices:
            self._smi.close()  # so that a card that is plugged in later is seen
            self.step = Step(self.name, Outcome.EMPTY)
        return bool(self._devices)

    def _sharers(self, address: str, handle: Any, siblings: int) -> int:
        """How many GPUs share the memory that the library tells of this one."""
        if siblings == 1:
            return 1
        whole = self._amdgpu.memory(partitions.package(address), integrated=False)
        return partitions.sharers(self._vram(address, handle), siblings, whole)

    def _handles(self) -> list[Any]:
        handles = self._smi.ask("", "amdsmi_get_processor_handles")
        return handles if isinstance(handles, list) else []

    def _has_other_count(self) -> bool:
        """Whether the library has other GPUs than when it was opened; the kernel's cards, where shown, say so first."""
        return self._smi.is_open and len(self._handles()) != self._handle_count

    def _address(self, place: int, handle: Any) -> str | None:
        """The library counts in the order of the bus."""
        bdf = self._smi.ask(f"AMD GPU {place}", "amdsmi_get_gpu_device_bdf", handle)
        address = normalise_address(bdf) if isinstance(bdf, str) else None
        if address is None and len(self._cards) == self._handle_count:
            return self._cards[place]
        return address

    def _describe(self, place: int, address: str | None, handle: Any, siblings: int, sharers: int) -> Gpu:
        card = address or unidentified(GpuType.AMD, place)
        integrated = self._amdgpu.is_integrated(card)
        memory = self._memory(card, handle, sharers, integrated=integrated)
        uuid = self._smi.text(card, "amdsmi_get_gpu_enumeration_info", handle, "hip_uuid")
        if siblings > 1 or (uuid is not None and not _HIP_UUID.fullmatch(uuid)):
            # Those of one package may all have the package's; integrated GPUs have none: HIP calls all of them GPU-XX.
            uuid = None
        return Gpu(
            index=place,
            uuid=uuid or (self._amdgpu.uuid(card) if siblings == 1 else None) or card,
            pci_address=address,
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
        memory = self._memory(card, handle, device.sharers, integrated=device.gpu.integrated)
        self._read_slow(card, device, 0 if device.gpu.integrated or memory is None else memory.used_bytes)
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

    def _read_slow(self, card: str, device: _Device, used_bytes: int) -> None:
        is_due = self._clock() >= device.slow_due_s
        if is_due or has_changed(device.used_memory_bytes, used_bytes):
            device.processes, device.used_memory_bytes = self._processes(card, device), used_bytes
        if not is_due:
            return
        device.power_limit_watts = self._amdgpu.power_limit_watts(card) or self._power_cap_watts(card, device.handle)
        device.fan_percent = self._fan_percent(card, device.handle)
        device.slow_due_s = self._clock() + self._slow_interval_s

    def _power_cap_watts(self, card: str, handle: Any) -> float | None:
        microwatts = as_number(self._smi.record(card, "amdsmi_get_power_cap_info", handle).get("power_cap"))
        return microwatts / 1_000_000 if microwatts else None

    def _clock_mhz(self, card: str, handle: Any, name: str) -> int | None:
        kind = self._smi.constant("AmdSmiClkType", name)
        return self._smi.number(card, "amdsmi_get_clock_info", (handle, kind), "clk")

    def _fan_percent(self, card: str, handle: Any) -> int | None:
        """The library counts in steps, mostly 255 of them. Cards with a cooler of the case's have no fan."""
        speed = as_number(self._smi.ask(card, "amdsmi_get_gpu_fan_speed", handle, 0))
        fastest = None if speed is None else as_number(self._smi.ask(card, "amdsmi_get_gpu_fan_speed_max", handle, 0))
        return round(100 * speed / fastest) if speed is not None and fastest else None

    def _memory(self, card: str, handle: Any, sharers: int, *, integrated: bool) -> Memory | None:
        vram = self._vram(card, handle)
        if vram and sharers > 1:
            return partitions.share(vram, sharers)
        return self._amdgpu.with_ram(vram, self._pool(card, handle, "GTT")) if vram and integrated else vram

    def _vram(self, card: str, handle: Any) -> Memory | None:
        return self._pool(card, handle, "VRAM") or self._vram_in_mib(card, handle)

    def _pool(self, card: str, handle: Any, name: str) -> Memory | None:
        kind = self._smi.constant("AmdSmiMemoryType", name)
        total_bytes = as_number(self._smi.ask(card, "amdsmi_get_gpu_memory_total", handle, kind))
        used_bytes = as_number(self._smi.ask(card, "amdsmi_get_gpu_memory_usage", handle, kind))
        return _of_total(total_bytes, used_bytes)

    def _vram_in_mib(self, card: str, handle: Any) -> Memory | None:
        """The library's other word for the VRAM, which is there where the first is refused."""
        usage = self._smi.record(card, "amdsmi_get_gpu_vram_usage", handle)
        total_mib, used_mib = as_number(usage.get("vram_total")), as_number(usage.get("vram_used"))
        return None if total_mib is None or used_mib is None else _of_total(total_mib * MIB, used_mib * MIB)

    def _temperature_c(self, card: str, handle: Any) -> int | None:
        """At the edge of the die; Instinct cards measure only at its hottest spot."""
        current = self._smi.constant("AmdSmiTemperatureMetric", "CURRENT")
        for sensor in ("EDGE", "HOTSPOT"):
            place = self._smi.constant("AmdSmiTemperatureType", sensor)
            celsius = as_number(self._smi.ask(card, "amdsmi_get_temp_metric", handle, place, current))
            if celsius is not None:
                return celsius
        return None

    def _processes(self, card: str, device: _Device) -> tuple[GpuProcess, ...]:
        """A process on an APU has its memory in the RAM that the GPU may use (GTT)."""
        pools = ("vram_mem", "gtt_mem") if device.gpu.integrated else ("vram_mem",)
        entries = self._smi.ask(card, "amdsmi_get_gpu_process_list", device.handle)
        told = (_process(entry, pools) for entry in entries) if isinstance(entries, list) else ()
        known = [process for process in told if process is not None]
        self._is_exact |= any((process.used_memory_bytes or 0) % _DECIMAL_PAGE for process in known)
        return tuple(sorted(map(self._exact, known), key=lambda process: process.pid))

    def _exact(self, process: GpuProcess) -> GpuProcess:
        """The library reads KiB from the kernel and has long taken them for 1,000 bytes each. The kernel counts pages
        of 4 KiB, so that all its sizes are multiples of 4,000 then; of a library that is right one in 125 is.
        """
        if self._is_exact or process.used_memory_bytes is None:
            return process
        return replace(process, used_memory_bytes=process.used_memory_bytes // 1000 * 1024)


def _of_total(total_bytes: int | None, used_bytes: int | None) -> Memory | None:
    if not total_bytes or used_bytes is None:
        return None
    return Memory(total_bytes, used_bytes, max(total_bytes - used_bytes, 0))


def _process(entry: Any, pools: tuple[str, ...]) -> GpuProcess | None:
    """None: not one that says which it is (older modules give handles)."""
    pid = as_number(entry.get("pid")) if isinstance(entry, dict) else None
    if pid is None:
        return None
    usage, name = entry.get("memory_usage"), entry.get("name", NOT_AVAILABLE)
    sizes = [as_number(usage.get(pool)) for pool in pools] if isinstance(usage, dict) else []
    known = [size for size in sizes if size is not None]
    program = "" if not isinstance(name, str) or name == NOT_AVAILABLE else name
    return GpuProcess(pid, PurePosixPath(program.removesuffix(_DELETED)).name, sum(known) if known else None)
