"""All devices of this machine in one list, whoever made them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, TypeVar

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuState, Inventory
from launchdeck.domain.text import Message
from launchdeck.hardware.amd import AMDSMIDetector
from launchdeck.hardware.amd_sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.detector import Complaints, GPUDetector
from launchdeck.hardware.nvidia import NVMLDetector
from launchdeck.hardware.torch_cuda import TorchCudaDetector
from launchdeck.hardware.torch_rocm import TorchROCmDetector

logger = logging.getLogger(__name__)

_SURVEY_INTERVAL_S = 30.0
_METRICS = ("used_memory_bytes", "free_memory_bytes", "utilization_percent", "temperature_c", "power_watts")
_Facts = TypeVar("_Facts", Gpu, GpuSample)


@dataclass(slots=True)
class _Device:
    """A GPU and all detectors that know it, the preferred one first; when none does any more, it is lost."""

    gpu: Gpu
    found_by: str
    sources: list[tuple[GPUDetector, Gpu]] = field(default_factory=list)


class UnifiedGPUDetector:
    """Every detector of the chain that answers, together; a GPU that two of them know is listed once.

    The chain is the order of preference: what one detector cannot measure, the next one that knows the same GPU is
    asked for. `detection="first"` stops at the first detector that finds a GPU. A GPU's place in the list stays the
    same for as long as this object lives: one that disappears stays listed as lost, a new one comes last.
    All calls belong to one thread.
    """

    DETECTOR_CHAIN: ClassVar[tuple[Callable[[], GPUDetector], ...]] = (
        AMDSMIDetector,
        AMDGPUSysfsDetector,
        NVMLDetector,
        TorchROCmDetector,
        TorchCudaDetector,
        CPUDetector,
    )

    def __init__(
        self,
        *,
        detection: str = "merged",
        detectors: Sequence[GPUDetector] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`detectors` are the chain's, unless given; a CPUDetector, which the list has to end with, is always last."""
        made = [make() for make in self.DETECTOR_CHAIN] if detectors is None else list(detectors)
        *self._detectors, self._cpu_detector = made
        (self._cpu,) = self._cpu_detector.get_gpu_list()
        self._first_only = detection == "first"
        self._clock = clock
        self._devices: dict[str, _Device] = {}
        self._steps: dict[str, Step] = {}
        self._survey_due_s = float("-inf")
        self._complaints = Complaints()

    @property
    def steps(self) -> tuple[Step, ...]:
        """What became of every step of the chain at the latest look."""
        return (*self._steps.values(), self._cpu_detector.step)

    def is_available(self) -> bool:
        """Always: the CPU is there."""
        return True

    def get_gpu_list(self) -> list[Gpu]:
        """All GPUs; where there is none, the CPU."""
        self._survey_if_due()
        return [device.gpu for device in self._devices.values()] or [self._cpu]

    def get_gpu_info(self, index: int) -> GpuSample:
        """A fresh sample of the device at this place of the list.

        Raises:
            IndexError: there is no such place.
        """
        gpu = self.get_gpu_list()[index]
        return self._cpu_detector.get_gpu_info(gpu) if gpu is self._cpu else self._sample(self._devices[_key(gpu)])

    def read(self) -> Inventory:
        """One sample of everything."""
        self._survey_if_due()
        gpus = tuple(GpuReading(device.gpu, self._sample(device)) for device in self._devices.values())
        cpu = GpuReading(self._cpu, self._cpu_detector.get_gpu_info(self._cpu))
        found_by = dict.fromkeys(device.found_by for device in self._devices.values())
        names = [detector.name for detector in self._detectors if detector.name in found_by]
        return Inventory(gpus, cpu, "+".join(names) or self._cpu_detector.name, sampled_at_s=time.time())

    def close(self) -> None:
        for detector in (*self._detectors, self._cpu_detector):
            detector.close()

    def _survey_if_due(self) -> None:
        if self._clock() < self._survey_due_s:
            return
        found: dict[str, _Device] = {}
        for detector in self._detectors:
            for gpu in self._ask(detector, found):
                device = found.setdefault(_key(gpu), _Device(gpu, detector.name))
                device.gpu = _filled(device.gpu, gpu)
                device.sources.append((detector, gpu))
        self._keep_places(found)
        self._survey_due_s = self._clock() + _SURVEY_INTERVAL_S

    def _ask(self, detector: GPUDetector, found: dict[str, _Device]) -> list[Gpu]:
        """This detector's GPUs, unless it need not be asked; a detector that fails costs nobody else's GPUs."""
        gpus: list[Gpu] = []
        vendors = {device.gpu.gpu_type for device in found.values()}
        if (self._first_only and found) or (detector.last_resort and detector.gpu_type in vendors):
            step = Step(detector.name, Outcome.SKIPPED, Message("Another source has answered."))
        else:
            try:
                gpus = detector.get_gpu_list()
                step = detector.step
            except Exception as error:  # noqa: BLE001 (whatever one vendor's library does, the others are shown)
                self._complaints.log(logging.ERROR, (detector.name,), f"{detector.name} failed", error)
                step = Step(detector.name, Outcome.FAILED, Message("It failed: {error}.", error=repr(error)))
        if self._steps.get(detector.name) != step:
            self._steps[detector.name] = step
            logger.info("%s: %s. %s", step.detector, step.outcome, step.reason or "")
        return gpus

    def _keep_places(self, found: dict[str, _Device]) -> None:
        for key, device in self._devices.items():
            again = found.pop(key, None)
            device.sources = again.sources if again else []
            if again:
                device.gpu = replace(again.gpu, index=device.gpu.index)
        for key, device in sorted(found.items(), key=lambda item: item[1].gpu.integrated):  # stable: discrete first
            device.gpu = replace(device.gpu, index=len(self._devices))
            self._devices[key] = device

    def _sample(self, device: _Device) -> GpuSample:
        sample: GpuSample | None = None
        for detector, gpu in device.sources:
            reading = self._reading(detector, gpu)
            sample = _filled(sample, reading) if sample else reading
            if sample.state is not GpuState.ACTIVE or all(getattr(sample, metric) is not None for metric in _METRICS):
                break
        return sample or GpuSample(time.time(), state=GpuState.LOST)

    def _reading(self, detector: GPUDetector, gpu: Gpu) -> GpuSample:
        try:
            return detector.get_gpu_info(gpu)
        except Exception as error:  # noqa: BLE001 (the other GPUs are shown all the same)
            self._complaints.log(
                logging.ERROR, (detector.name, gpu.uuid), f"{detector.name} cannot read {gpu.name}", error
            )
            return GpuSample(time.time())


def _key(gpu: Gpu) -> str:
    """What makes two readings one GPU."""
    return gpu.pci_address or gpu.uuid


def _filled(first: _Facts, second: _Facts) -> _Facts:
    """`first`, with what it lacks taken from `second`."""
    missing = [each.name for each in fields(first) if getattr(first, each.name) is None]
    return replace(first, **{name: getattr(second, name) for name in missing})
