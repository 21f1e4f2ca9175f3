"""AMD GPUs by the kernel's files alone: where AMD's library is missing, or has no readings (as for gfx1151)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuState, GpuType
from launchdeck.hardware.amd.amdgpu import Amdgpu


class AMDGPUSysfsDetector:
    """Knows everything but the processes, and names where libdrm's list of them is installed."""

    name = "AMDGPUSysfsDetector"
    gpu_type = GpuType.AMD
    last_resort = False

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._amdgpu = Amdgpu(root, clock)
        self._gpus: dict[str, Gpu] = {}

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        bus = self._amdgpu.look()
        self.step = Step(self.name, Outcome.FOUND if bus.cards else Outcome.EMPTY, bus.left_out)
        for card in bus.cards:
            known = self._gpus.get(card)
            if known is None or (known.total_memory_bytes is None and not self._amdgpu.is_asleep(card)):
                self._gpus[card] = self._describe(card)
            elif known.integrated and not self._amdgpu.leaves_alone(card):  # how much RAM we may have can change
                memory = self._amdgpu.memory(card, integrated=True)
                self._gpus[card] = known if memory is None else replace(known, total_memory_bytes=memory.total_bytes)
        return [self._gpus[card] for card in bus.cards]

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        card = gpu.pci_address or ""
        if self._amdgpu.leaves_alone(card):
            return GpuSample(time.time(), state=GpuState.ASLEEP)
        if not self._amdgpu.is_there(card):
            return GpuSample(time.time(), state=GpuState.LOST)
        memory = self._amdgpu.memory(card, integrated=gpu.integrated)
        sample = GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes if memory else None,
            free_memory_bytes=memory.free_bytes if memory else None,
            utilization_percent=self._amdgpu.utilization_percent(card),
            temperature_c=self._amdgpu.temperature_c(card),
            power_watts=self._amdgpu.power_watts(card),
            power_limit_watts=self._amdgpu.power_limit_watts(card),
            graphics_clock_mhz=self._amdgpu.clock_mhz(card, "sclk"),
            memory_clock_mhz=self._amdgpu.clock_mhz(card, "mclk"),
            fan_percent=self._amdgpu.fan_percent(card),
        )
        self._amdgpu.note(card, sample)
        return sample

    def close(self) -> None:
        """Nothing is held open."""

    def _describe(self, card: str) -> Gpu:
        """What can be said of a sleeping card without waking it is its name."""
        asleep = self._amdgpu.is_asleep(card)
        integrated = not asleep and self._amdgpu.is_integrated(card)
        memory = None if asleep else self._amdgpu.memory(card, integrated=integrated)
        return Gpu(
            index=0,
            uuid=(None if asleep else self._amdgpu.uuid(card)) or card,
            pci_address=card,
            name=self._amdgpu.name(card),
            gpu_type=GpuType.AMD,
            total_memory_bytes=memory.total_bytes if memory else None,
            integrated=integrated,
        )
