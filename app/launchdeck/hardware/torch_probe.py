"""GPUs as PyTorch sees them: asked once, in a short-lived process, where no driver library answers.

Asking PyTorch creates a context of 100 to 850 MB on the GPU, which only the end of the process releases; and its
readings are of that process. So it tells which GPUs there are, and is never polled.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType
from launchdeck.domain.text import Message
from launchdeck.hardware.pci import normalise_address, read_text

logger = logging.getLogger(__name__)

_PROBE = """
import json, torch
properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
print(json.dumps([{
    "name": gpu.name,
    "total_memory_bytes": gpu.total_memory,
    "capability": [gpu.major, gpu.minor],
    "integrated": bool(getattr(gpu, "is_integrated", False)),
    "uuid": str(getattr(gpu, "uuid", "")),
    "pci": [getattr(gpu, f"pci_{part}_id", None) for part in ("domain", "bus", "device")],
} for gpu in properties]))
"""


class TorchDetector(ABC):
    """What both kinds of PyTorch have in common: ROCm builds answer through `torch.cuda`, too."""

    name: str
    gpu_type: GpuType
    last_resort = True
    kind: ClassVar[str]  # of build, for people
    build: ClassVar[str]  # and what torch.version calls it
    device_files: ClassVar[tuple[str, ...]]  # without one of these Linux has no GPU that PyTorch could find

    def __init__(self, *, root: Path = Path("/"), timeout_s: float = 60.0) -> None:
        self.step = Step(self.name, Outcome.SKIPPED)
        self._root = root
        self._timeout_s = timeout_s
        self._gpus: list[Gpu] | None = None

    def is_available(self) -> bool:
        return bool(self.get_gpu_list())

    def get_gpu_list(self) -> list[Gpu]:
        """The first call takes seconds; what it found is kept until `close`."""
        if self._gpus is None:
            self._gpus = self._look()
        return list(self._gpus)

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:  # noqa: ARG002 (nothing can be measured on any of them)
        return GpuSample(time.time())

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
        if sys.platform == "linux" and not any((self._root / "dev" / file).exists() for file in self.device_files):
            self.step = Step(self.name, Outcome.EMPTY)
            return []
        try:
            gpus = [self._gpu(index, facts) for index, facts in enumerate(self._ask())]
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            logger.warning("%s: %s", self.name, error)
            self.step = Step(self.name, Outcome.FAILED, Message("PyTorch does not answer: {error}.", error=str(error)))
            return []
        self.step = Step(self.name, Outcome.FOUND if gpus else Outcome.EMPTY)
        return gpus

    def _what_is_missing(self) -> Message | None:
        """None: PyTorch is there, and of this build. Its version file says so without the seconds of an import."""
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            return Message("PyTorch is not installed.")
        facts = read_text(Path(spec.origin).with_name("version.py")) or ""
        versions = dict(re.findall(r"^(\w+)[^=\n]*= *['\"](.*)['\"]", facts, re.MULTILINE))
        if self.build in versions:
            return None
        version = versions.get("__version__", "")
        return Message("PyTorch {version} is installed, but built without {build}.", version=version, build=self.kind)

    def _ask(self) -> list[dict[str, Any]]:
        command = [sys.executable, "-c", _PROBE]
        result = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout_s, check=False)
        if result.returncode:
            last_line = result.stderr.strip().rpartition("\n")[2]
            raise OSError(last_line or f"exit status {result.returncode}")
        answer: list[dict[str, Any]] = json.loads(result.stdout.strip().rpartition("\n")[2])
        return answer

    def _gpu(self, index: int, facts: dict[str, Any]) -> Gpu:
        domain, bus, device = facts["pci"]
        address = None if bus is None else normalise_address(f"{domain or 0:x}:{bus:x}:{device or 0:x}.0")
        return Gpu(
            index=index,
            uuid=self.uuid(facts["uuid"]) or address or str(index),
            pci_address=address,
            name=facts["name"],
            gpu_type=self.gpu_type,
            total_memory_bytes=facts["total_memory_bytes"],
            compute_capability=tuple(facts["capability"]) if self.gpu_type is GpuType.NVIDIA else None,
            integrated=facts["integrated"],
        )
