"""The mask of llama.cpp's Vulkan backend that was set before Launchdeck started, and what it hides of an engine."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launchdeck.engines.devices.listing import Listed

_VULKAN = re.compile(r"Vulkan([0-9]{1,4})")
_LEADING_NUMBERS = re.compile(r"(?:[\s,]*[0-9]+(?=[\s,]|$))*")


def hidden_devices(devices: Sequence[str], mask: str | None) -> frozenset[str]:
    """The names of those of an engine's devices, as it lists them without any mask, that this mask hides.

    It counts all vendors' devices in Vulkan's own order, so an engine that has listed them is what can resolve it. The
    numbers end at the first word that is none.
    """
    if mask is None:
        return frozenset()
    match = _LEADING_NUMBERS.match(mask)
    left = {number.lstrip("0") or "0" for number in re.findall(r"[0-9]+", match[0])} if match else set()
    names = (device.name for device in map(Listed.of, devices) if device is not None)
    return frozenset(name for name in names if (vulkan := _VULKAN.fullmatch(name)) and vulkan[1] not in left)
