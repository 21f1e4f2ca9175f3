"""AMD GPUs as a ROCm build of PyTorch sees them, where neither amdsmi nor the kernel's files answer (WSL)."""

from __future__ import annotations

from launchdeck.domain.gpu import GpuType
from launchdeck.hardware.torch.probe import TorchDetector


class TorchROCmDetector(TorchDetector):
    """Inventory only, see torch_probe. A ROCm build is known by `torch.version.hip`: there is no module torch.hip."""

    name = "TorchROCmDetector"
    gpu_type = GpuType.AMD
    kind = "ROCm"
    build = "hip"

    def uuid(self, reported: str) -> str | None:
        """HIP's UUID is 16 letters, which PyTorch writes as if they were the bytes of a number."""
        try:
            letters = bytes.fromhex(reported.replace("-", "")).decode("ascii")
            int(letters, 16)
        except ValueError:
            return None
        return f"GPU-{letters}"
