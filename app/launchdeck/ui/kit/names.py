"""Devices' names, short enough for a card."""

from __future__ import annotations

import re

from launchdeck.domain.gpu import Gpu, GpuReading, GpuType, PlannedGpu
from launchdeck.domain.text import Message
from launchdeck.ui.kit.i18n import tr

_VENDORS = {GpuType.NVIDIA: "NVIDIA", GpuType.AMD: "AMD"}
_NOISE = re.compile(
    r"\((?:R|TM|C)\)"  # Intel(R) Core(TM)
    r"|^(?:NVIDIA|AMD|Intel)\b"  # the vendor stands beside
    r"|\bGeForce\b|\bRadeon\b(?= (?:RX|PRO|Pro|AI)\b)"
    r"|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@.*$",
    re.IGNORECASE,
)


def vendor(gpu: Gpu) -> str:
    """The maker as it writes itself; nothing for the CPU."""
    return _VENDORS.get(gpu.gpu_type, "")


def short_name(gpu: Gpu | PlannedGpu) -> str:
    """The name without what every name has: "RTX 4090", "Ryzen 9 7950X"."""
    return " ".join(_NOISE.sub(" ", gpu.name).split()) or gpu.name


def place_and_name(gpu: Gpu) -> str:
    """What tells it from the others: "0 RTX 4090"; "CPU" for the CPU."""
    return "CPU" if gpu.gpu_type is GpuType.CPU else f"{gpu.index} {short_name(gpu)}"


def is_usable(reading: GpuReading) -> bool:
    """Tell whether a launch can be told to use it."""
    return reading.sample.state.answers and reading.gpu.ours and reading.gpu.problem is None


def why_not_ours(gpu: Gpu) -> str:
    """What hides this GPU from Launchdeck, for a tooltip; empty for one that is ours."""
    if gpu.ours:
        return ""
    if gpu.hidden_by is None:
        return tr("It is hidden from Launchdeck.")
    return tr(gpu.hidden_by.doubt or Message("It is hidden from Launchdeck by {mask}.", mask=gpu.hidden_by.setting))
