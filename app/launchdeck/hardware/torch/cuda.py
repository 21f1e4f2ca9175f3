"""NVIDIA GPUs as a CUDA build of PyTorch sees them, where NVML does not answer."""

from __future__ import annotations

from launchdeck.domain.gpu import GpuType
from launchdeck.hardware.torch.probe import TorchDetector


class TorchCudaDetector(TorchDetector):
    """Inventory only, see torch_probe."""

    name = "TorchCudaDetector"
    gpu_type = GpuType.NVIDIA
    kind = "CUDA"
    build = "cuda"

    def uuid(self, reported: str) -> str | None:
        return f"GPU-{reported}" if reported else None
