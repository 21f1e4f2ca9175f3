"""GPUs as PyTorch sees them: asked once, in a short-lived process, where no driver library answers.

Asking PyTorch creates a context of 100 to 850 MB on the GPU, which only the end of the process releases. So it tells
which GPUs there are and how full their memory is (`mem_get_info` counts all processes, and the context of the question
itself), and is never polled.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.masks import without_masks
from launchdeck.hardware.pci import normalise_address, read_text

_PROBE = """
import json, torch
try:
    from torch import version
except ImportError:
    version = None

def part(gpu, name):
    value = getattr(gpu, name, None)
    return value if value is None or isinstance(value, (int, str)) else str(value)

def memory(index):
    try:
        return [int(size) for size in torch.cuda.mem_get_info(index)]
    except Exception:
        return None

def facts(index):
    gpu = torch.cuda.get_device_properties(index)
    names = ("total_memory", "major", "minor", "is_integrated", "uuid", "pci_domain_id", "pci_bus_id", "pci_device_id")
    return {"name": gpu.name, "free_and_total": memory(index)} | {name: part(gpu, name) for name in names}

gpus = [facts(index) for index in range(torch.cuda.device_count())]
is_cuda = gpus or getattr(version, "cuda", None)
build = "hip" if getattr(version, "hip", None) else "cuda" if is_cuda else None
print(json.dumps({"version": str(getattr(torch, "__version__", "")), "build": build, "gpus": gpus}))
"""
_FRESH_S = 30.0


class TorchDetector(ABC):
    """What both kinds of PyTorch have in common: ROCm builds answer through `torch.cuda`, too."""

    name: str
    gpu_type: GpuType
    last_resort = True
    kind: ClassVar[str]  # of build, for people
    build: ClassVar[str]  # and what torch.version calls it

    def __init__(self, *, timeout_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._timeout_s = timeout_s
        self._clock = clock
        self._gpus: list[Gpu] | None = None
        self._samples: dict[str, GpuSample] = {}
        self._fresh_until_s = float("-inf")

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        """The first call takes seconds; what it found is kept until `close`."""
        if self._gpus is None:
            self._gpus = self._look()
        return list(self._gpus)

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        """The memory as it was at the look, for half a minute; then it is not known any more."""
        is_fresh = self._clock() < self._fresh_until_s
        return self._samples.get(gpu.uuid, GpuSample(time.time())) if is_fresh else GpuSample(time.time())

    def close(self) -> None:
        """Nothing is held open; asked again, it looks again."""
        self._gpus = None

    @abstractmethod
    def uuid(self, reported: str) -> str | None:
        """The UUID as the vendor's masks take it, from what PyTorch reports; None if that is none."""

    def _look(self) -> list[Gpu]:
        if (problem := self._what_is_missing()) is not None:
            self.step = Step(self.name, Outcome.NOT_INSTALLED, problem)
            return []
        try:
            answer = self._ask()
            gpus = [self._gpu(index, facts) for index, facts in enumerate(answer["gpus"])]
            self._samples = {gpu.uuid: _sample(facts) for gpu, facts in zip(gpus, answer["gpus"], strict=True)}
        except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
            self.step = Step(self.name, Outcome.FAILED, Message("PyTorch does not answer: {error}.", error=str(error)))
            return []
        if answer["build"] != self.build:
            self.step = Step(self.name, Outcome.NOT_INSTALLED, self._other_build(answer["version"]))
            return []
        self._fresh_until_s = self._clock() + _FRESH_S
        self.step = Step(self.name, Outcome.FOUND if gpus else Outcome.EMPTY)
        return gpus

    def _what_is_missing(self) -> Message | None:
        """None: PyTorch is there, and may be of this build. Its version file, if it has one, says so without the
        seconds of an import.
        """
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            return Message("PyTorch is not installed.")
        facts = read_text(Path(spec.origin).with_name("version.py"))
        if facts is None:
            return None
        versions = dict(re.findall(r"^(\w+)[^=\n]*= *['\"](.*)['\"]", facts, re.MULTILINE))
        return None if self.build in versions else self._other_build(versions.get("__version__", ""))

    def _other_build(self, version: str) -> Message:
        return Message("PyTorch {version} is installed, but built without {build}.", version=version, build=self.kind)

    def _ask(self) -> dict[str, Any]:
        command = [sys.executable, "-c", _PROBE]
        result = subprocess.run(
            command,
            env=without_masks(os.environ),
            capture_output=True,
            text=True,
            timeout=self._timeout_s,
            check=False,
        )
        if result.returncode:
            last_line = result.stderr.strip().rpartition("\n")[2]
            raise OSError(last_line or f"exit status {result.returncode}")
        answer: dict[str, Any] = json.loads(result.stdout.strip().rpartition("\n")[2])
        return answer

    def _gpu(self, index: int, facts: dict[str, Any]) -> Gpu:
        bus = facts["pci_bus_id"]
        domain, device = facts["pci_domain_id"] or 0, facts["pci_device_id"] or 0
        address = None if bus is None else normalise_address(f"{domain:x}:{bus:x}:{device:x}.0")
        capability = (facts["major"], facts["minor"])
        return Gpu(
            index=index,
            uuid=self.uuid(facts["uuid"] or "") or address or f"{self.gpu_type}-{index}",
            pci_address=address,
            name=facts["name"],
            gpu_type=self.gpu_type,
            total_memory_bytes=facts["total_memory"] or (facts["free_and_total"] or (None, None))[1],
            compute_capability=capability if self.gpu_type is GpuType.NVIDIA and None not in capability else None,
            integrated=bool(facts["is_integrated"]),
        )


def _sample(facts: dict[str, Any]) -> GpuSample:
    if facts["free_and_total"] is None:
        return GpuSample(time.time())
    free_bytes, total_bytes = facts["free_and_total"]
    return GpuSample(time.time(), used_memory_bytes=total_bytes - free_bytes, free_memory_bytes=free_bytes)
