"""What an engine lists with `--list-devices`: its devices by its own names, and whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from launchdeck.domain.gpu import GpuType
from launchdeck.domain.units import MIB
from launchdeck.hardware.pci import normalise_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launchdeck.domain.plan import EngineInfo

# llama.cpp's backends that a mask governs, by vendor; the number after it counts the GPUs the mask lets through.
MASKED_BACKENDS: Final = {GpuType.NVIDIA: "CUDA", GpuType.AMD: "ROCm"}
_LISTED = re.compile(r"(?P<name>\w+): (?P<text>.*) \((?P<total>\d+) MiB, (?P<free>\d+) MiB free\)")
_ADDRESS = re.compile(r"\b[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]\b")
_NUMBER = re.compile(r"\d+$")
_VENDOR_WORDS = {
    GpuType.NVIDIA: frozenset({"nvidia", "geforce", "quadro", "tesla", "titan"}),
    GpuType.AMD: frozenset({"amd", "radeon", "firepro", "instinct"}),
}
# Drivers that compute on the CPU, whatever it is called.
_SOFTWARE = frozenset({"llvmpipe", "lavapipe", "swiftshader", "softpipe"})
# What says nothing of a GPU: whose it is, and what every one of them is called.
_EMPTY_WORDS = frozenset({"nvidia", "geforce", "amd", "radeon", "ati", "graphics", "corporation", "inc", "device"})
# How Mesa's driver calls the GPUs inside of AMD's processors, in the note in brackets.
_INSIDE_PROCESSORS = frozenset({
    "raven", "raven2", "picasso", "renoir", "lucienne", "cezanne", "barcelo", "rembrandt", "raphael", "mendocino",
    "vangogh", "phoenix", "phoenix2", "strix", "strix1", "krackan", "gfx902", "gfx909", "gfx90c", "gfx1033", "gfx1035",
    "gfx1036", "gfx1037", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153", "carrizo", "stoney", "kaveri",
    "kabini", "mullins", "beema",
})  # fmt: skip
_WORD = re.compile(r"[a-z0-9]+")
_NOTE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `--list-devices`."""

    name: str
    text: str
    total_bytes: int
    free_bytes: int

    @classmethod
    def of(cls, line: str) -> Listed | None:
        match = _LISTED.fullmatch(line.strip())
        if match is None:
            return None
        return cls(match["name"], match["text"], int(match["total"]) * MIB, int(match["free"]) * MIB)

    @property
    def backend(self) -> str:
        """Its name without the number: "Vulkan"."""
        return _NUMBER.sub("", self.name)

    @property
    def vendor(self) -> GpuType | None:
        """Whose GPU it is: told by the backend, or (Vulkan, SYCL) by the name of the device. None for what is no GPU,
        or one that Launchdeck does not know.
        """
        if self.name.startswith("RPC"):
            return None
        for vendor, prefix in MASKED_BACKENDS.items():
            if self.name.startswith(prefix):
                return vendor
        words = frozenset(_WORD.findall(self.text.lower()))
        if words & _SOFTWARE:
            return None
        return next((vendor for vendor, marks in _VENDOR_WORDS.items() if words & marks), None)

    @property
    def address(self) -> str | None:
        """Where it sits on the bus, where this build prints that: see `bus_place`."""
        return bus_place(self.text)

    @property
    def has_note(self) -> bool:
        """Whether its driver has left a note behind the name: "(RADV NAVI31)"."""
        return _NOTE.search(self.text) is not None

    @property
    def is_inside_processor(self) -> bool:
        """Whether the driver's note says that it is no card."""
        notes = " ".join(_NOTE.findall(self.text.lower()))
        return not _INSIDE_PROCESSORS.isdisjoint(_WORD.findall(notes))


def listed(engine: EngineInfo) -> tuple[Listed, ...]:
    """The engine's devices beside the CPU."""
    return read_listing(engine.devices)


@lru_cache(maxsize=64)
def read_listing(lines: tuple[str, ...]) -> tuple[Listed, ...]:
    """The devices in these lines; what is none is left out."""
    return tuple(device for device in map(Listed.of, lines) if device is not None)


@lru_cache(maxsize=1024)
def bus_place(address: str | None) -> str | None:
    """Domain, bus and slot of a PCI address, as they are compared: "0000:01:00". llama.cpp's CUDA backend makes up the
    function after them. None where there is no address.
    """
    match = _ADDRESS.search(address or "")
    if match is None:
        return None
    address = normalise_address(match[0])
    return None if address is None else address.rpartition(".")[0]


def is_out_of_date(told: Iterable[str | None], here: Iterable[str | None]) -> bool:
    """Whether cards were moved since these places (`bus_place`) were told: there is one where none is now, and one is
    now where none was.
    """
    before, now = set(told) - {None}, set(here) - {None}
    return bool(before - now) and bool(now - before)


def model_name(text: str) -> str:
    """The name of a GPU without what drivers add to it or leave out of it: notes in brackets, the vendor. It may be
    empty: "AMD Radeon Graphics (RADV GFX1201)" is what a driver says that does not know the name.
    """
    words = _NOTE.sub(" ", text.lower()).split()
    return " ".join(word for word in words if word.strip(",.") not in _EMPTY_WORDS)
