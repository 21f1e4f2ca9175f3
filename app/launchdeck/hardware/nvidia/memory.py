"""NVIDIA's chips that have no memory of their own, and what they may use of the computer's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from launchdeck.hardware.memory import Memory, is_all_the_ram, ram, with_ram
from launchdeck.hardware.nvidia.nvml import Nvml

# NVML has no word for it: it answers "not supported" or 0 for most of these chips, for some the size of the RAM, and
# for those with a part of the RAM set aside that part, as for a card. The last ones only their name tells.
_CHIPS: Final = re.compile(r"\b(GB10|N1X?|Orin|Thor|Xavier|Tegra\w*|Jetson)\b", re.IGNORECASE)


def memory(nvml: Nvml, uuid: str, handle: Any, name: str, root: Path) -> tuple[Memory | None, bool]:
    """What a program can have on this GPU, None: not told; and whether it is the computer's RAM.

    Raises:
        GpuLostError: the GPU does not answer any more.
    """
    own = nvml.memory(uuid, handle)
    if nvml.has_no_memory(uuid, own) or (own is not None and is_all_the_ram(own.total_bytes)):
        return ram(root), True
    if own is not None and _CHIPS.search(name):
        return with_ram(own, ram(root), root), True
    return own, False
