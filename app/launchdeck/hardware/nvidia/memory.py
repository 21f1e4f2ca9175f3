"""NVIDIA's chips that have no memory of their own, and what they may use of the computer's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from launchdeck.hardware.memory import Memory, is_all_the_ram, ram, with_ram
from launchdeck.hardware.nvidia.nvml import Nvml

# NVML has no word for it: it answers "not supported" or 0 for most of these chips, for some the size of the RAM, and
# for those with a part of the RAM set aside that part, as for a card. The last ones only their name tells.
_CHIPS: Final = re.compile(r"\b(GB10|N1X?|Orin|Thor|Xavier|Tegra\w*|Jetson|iGPU)\b", re.IGNORECASE)
# These have memory of their own, whatever their driver says of it when something is wrong: the series for desktops and
# workstations, and the numbers of those for data centres (T4, V100S, A10G, L40S, H100, B200, GH200).
_CARDS: Final = re.compile(
    r"\b(GeForce|RTX|GTX?|MX\d{3}|Quadro|NVS|Tesla|TITAN|GRID|CMP|[ABHKLMPTV]\d{1,4}[A-Z]{0,2}|G[A-Z]\d{3})\b",
    re.IGNORECASE,
)
# A driver that tells the RAM's size as a GPU's rounds it to MiB, more or less; of a known chip it may leave a part out.
_ROUNDING_BYTES: Final = 2 << 20
_OF_A_CHIP: Final = 0.01


def set_aside_bytes(nvml: Nvml, uuid: str, told: Memory | None, name: str) -> int | None:
    """How much of the computer's RAM is set aside for this GPU, which may use the rest besides; None: it is a card,
    with memory of its own. It is to be asked when the GPU is opened and `told` is fresh: what a driver says in passing
    makes no chip of a card. `name` is empty where it is not known: then nothing can be said for sure.
    """
    is_chip = _CHIPS.search(name) is not None
    if not is_chip and (not name or _CARDS.search(name)):
        return None
    if nvml.has_no_memory(uuid, told):
        return 0
    if told is None:
        return None
    if is_all_the_ram(told.total_bytes, _ROUNDING_BYTES, _OF_A_CHIP if is_chip else 0.0):
        return 0
    return told.total_bytes if is_chip else None


def memory(told: Memory | None, set_aside: int | None, root: Path) -> Memory | None:
    """What a program can have on a GPU of which the driver has `told` this; None: not known. `set_aside` is what
    `set_aside_bytes` said.
    """
    if set_aside == 0:
        return ram(root)
    if told is None or told.total_bytes == 0:
        return None
    return told if set_aside is None else with_ram(told, ram(root), root)
