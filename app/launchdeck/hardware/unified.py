"""All devices of this machine in one list, whoever made them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, TypeVar

from launchdeck.domain.detection import Step
from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuState, Inventory
from launchdeck.domain.text import Message
from launchdeck.hardware.amd.detector import AMDSMIDetector
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.bus_order import counted_place
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.detector import GPUDetector
from launchdeck.hardware.masks import resolve
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.owned_detector import OwnedDetector
from launchdeck.hardware.patience import Patience
from launchdeck.hardware.plausible import plausible_gpu, plausible_sample
from launchdeck.hardware.source import WATCHING
from launchdeck.hardware.torch.cuda import TorchCudaDetector
from launchdeck.hardware.torch.rocm import TorchROCmDetector

logger = logging.getLogger(__name__)

_SURVEY_INTERVAL_S = 10.0
_METRICS = ("used_memory_bytes", "free_memory_bytes", "utilization_percent", "temperature_c", "power_watts")
_Facts = TypeVar("_Facts", Gpu, GpuSample)


@dataclass(slots=True)
class _Device:
    """A GPU and all detectors that know it, the preferred one first; when none does any more, it is lost."""

    gpu: Gpu
    found_by: str
    sources: list[tuple[OwnedDetector, Gpu]] = field(default_factory=list)


class UnifiedGPUDetector:
    """Every detector of the chain that answers, together; a GPU that two of them know is listed once.

    The chain is the order of preference: what one detector cannot measure, the next one that knows the same GPU is
    asked for. `detection="first"` stops at the first detector that finds a GPU. A GPU's place in the list stays the
    same for as long as this object lives: one that disappears stays listed as lost, a new one comes last.

    Every detector has a thread of its own. A GPU whose reading does not come back within the patience costs the others
    that time once; from then on it is `stalled` until the call comes back. All calls to this object belong to one
    thread.
    """

    DETECTOR_CHAIN: ClassVar[tuple[Callable[[], GPUDetector], ...]] = (
        AMDSMIDetector,
        NVMLDetector,
        TorchROCmDetector,
        TorchCudaDetector,
        CPUDetector,
    )
    TIERS: ClassVar[dict[Callable[[], GPUDetector], Callable[[], GPUDetector]]] = {AMDSMIDetector: AMDGPUSysfsDetector}
    """What stands in for a step of the chain, right below it, where that step or one of its readings is missing."""

    def __init__(
        self,
        *,
        detection: str = "merged",
        detectors: Sequence[GPUDetector] | None = None,
        patience: Patience = WATCHING,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`detectors` are the chain's, unless given; a CPUDetector, which the list has to end with, is always last.
        The masks in `environ` say which of the GPUs are ours.
        """
        made = self._make_all() if detectors is None else list(detectors)
        *others, self._cpu_detector = made
        self._detectors = [OwnedDetector(detector, patience) for detector in others]
        (self._cpu,) = self._cpu_detector.get_gpu_list()
        self._first_only = detection == "first"
        self._clock = clock
        self._environ = dict(environ)
        self._told: set[Message] = set()
        self._devices: dict[str, _Device] = {}
        self._survey_due_s = float("-inf")

    @property
    def steps(self) -> tuple[Step, ...]:
        """What became of every step of the chain at the latest look."""
        return (*(owned.step for owned in self._detectors), self._cpu_detector.step)

    def _make_all(self) -> list[GPUDetector]:
        tiers = ((make, self.TIERS.get(make)) for make in self.DETECTOR_CHAIN)
        return [make() for tier in tiers for make in tier if make is not None]

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
        return self._cpu_sample() if gpu is self._cpu else self._samples([gpu.key])[gpu.key]

    def read(self) -> Inventory:
        """One sample of everything."""
        self._survey_if_due()
        samples = self._samples(list(self._devices))
        gpus = tuple(GpuReading(device.gpu, samples[key]) for key, device in self._devices.items())
        cpu = GpuReading(self._cpu, self._cpu_sample())
        found_by = {device.found_by for device in self._devices.values()}
        names = [step.detector for step in self.steps if step.detector in found_by]
        detector = "+".join(names) or self._cpu_detector.name
        return Inventory(gpus, cpu, detector, sampled_at_s=time.time(), steps=self.steps)

    def refresh(self) -> None:
        """Let go of all libraries; the next reading opens them again and looks for devices anew."""
        for owned in self._detectors:
            owned.release()
        self._survey_due_s = float("-inf")

    def close(self) -> None:
        for owned in self._detectors:
            owned.end()
        self._cpu_detector.close()

    def _survey_if_due(self) -> None:
        """Look for devices every 10 s, as soon as a detector that was late has come back, and where there is more or
        less RAM than before: GPUs that share it have more or less, too.
        """
        cpu_before, (self._cpu,) = self._cpu, self._cpu_detector.get_gpu_list()
        is_back = any(owned.is_back for owned in self._detectors)
        if self._clock() < self._survey_due_s and not is_back and self._cpu == cpu_before:
            return
        found: dict[str, _Device] = {}
        for owned in self._detectors:
            if self._needs_no(owned.detector, found):
                owned.skip()
                continue
            for gpu in map(plausible_gpu, owned.gpus()):
                device = found.setdefault(gpu.key, _Device(gpu, owned.detector.name))
                device.gpu = _filled(device.gpu, gpu)
                device.sources.append((owned, gpu))
        self._keep_places(found)
        self._survey_due_s = self._clock() + _SURVEY_INTERVAL_S

    def _needs_no(self, detector: GPUDetector, found: dict[str, _Device]) -> bool:
        """A last resort is not needed for a vendor whose library has answered, or may still do so."""
        if self._first_only and found:
            return True
        if not detector.last_resort:
            return False
        late = {
            owned.detector.gpu_type for owned in self._detectors if owned.is_late and not owned.detector.last_resort
        }
        return detector.gpu_type in late | {device.gpu.gpu_type for device in found.values()}

    def _keep_places(self, found: dict[str, _Device]) -> None:
        self._take_names(found)
        for key, device in self._devices.items():
            again = found.pop(key, None)
            device.sources = again.sources if again else []
            if again:
                device.gpu = replace(again.gpu, index=device.gpu.index)
        for key, device in sorted(found.items(), key=lambda item: item[1].gpu.integrated):  # stable: discrete first
            device.gpu = replace(device.gpu, index=len(self._devices))
            self._devices[key] = device
        self._keep_apart()
        self._obey_masks()

    def _take_names(self, found: dict[str, _Device]) -> None:
        """A GPU that could not even say what it is keeps its place when it can."""
        gone = [(key, device) for key, device in self._devices.items() if key not in found]
        for key in [key for key, device in gone if counted_place(device.gpu) is not None]:
            vendor = self._devices[key].gpu.gpu_type
            new = next((k for k, d in found.items() if k not in self._devices and d.gpu.gpu_type is vendor), None)
            if new is not None:
                self._devices = {new if each == key else each: device for each, device in self._devices.items()}

    def _keep_apart(self) -> None:
        """Two GPUs to which their driver gives one UUID are still two, for all who ask by it: by their addresses."""
        seen = {device.gpu.uuid for device in self._devices.values() if device.gpu.pci_address is None}
        for device in self._devices.values():
            if device.gpu.pci_address is not None and device.gpu.uuid in seen:
                device.gpu = replace(device.gpu, uuid=device.gpu.pci_address)
            seen.add(device.gpu.uuid)

    def _obey_masks(self) -> None:
        """Each time for all of them: a GPU that is found late changes the numbers of others, and so do slices that are
        gone. A whole GPU that is lost was counted when the mask was set.
        """
        counted = [device for device in self._devices.values() if device.sources or device.gpu.slice_of is None]
        resolved = resolve([device.gpu for device in counted], self._environ)
        for device, gpu in zip(counted, resolved.gpus, strict=True):
            device.gpu = gpu
        for warning in resolved.warnings:
            if warning not in self._told:
                logger.warning("%s", warning)
                self._told.add(warning)

    def _cpu_sample(self) -> GpuSample:
        return plausible_sample(self._cpu, self._cpu_detector.get_gpu_info(self._cpu))

    def _samples(self, keys: Sequence[str]) -> dict[str, GpuSample]:
        """A sample of each of these devices; a detector is asked once for all that lack something it may know."""
        samples: dict[str, GpuSample] = {}
        for owned in self._detectors:
            known = {key: gpu for key in keys for by, gpu in self._devices[key].sources if by is owned}
            wanted = {key: gpu for key, gpu in known.items() if _lacks_something(samples.get(key))}
            for key, told in (owned.samples(wanted) if wanted else {}).items():
                before, sample = samples.get(key), plausible_sample(self._devices[key].gpu, told)
                samples[key] = _filled(before, sample) if before and before.state.answers else sample
        lost = GpuSample(time.time(), state=GpuState.LOST)
        return {key: samples.get(key, lost) for key in keys}


def _lacks_something(sample: GpuSample | None) -> bool:
    """Whether another source may know more: of a sleeping or lost GPU there is nothing to know."""
    if sample is None or sample.state is GpuState.STALLED:
        return True
    return sample.state is GpuState.ACTIVE and any(getattr(sample, metric) is None for metric in _METRICS)


def _filled(first: _Facts, second: _Facts) -> _Facts:
    """`first`, with what it lacks taken from `second`."""
    missing = [each.name for each in fields(first) if getattr(first, each.name) is None]
    return replace(first, **{name: getattr(second, name) for name in missing})
