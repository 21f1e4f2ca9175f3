"""What Linux's amdgpu driver tells of AMD GPUs in sysfs, without any library."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launchdeck.domain.gpu import GpuSample
from launchdeck.domain.units import MIB
from launchdeck.hardware.idle import IdleRest
from launchdeck.hardware.memory import Memory, with_ram
from launchdeck.hardware.pci import AMD_VENDOR, OnBus, PciBus, read_number, read_text

_FASTEST_FAN = 255  # where the driver does not name another number
_IDLE_VRAM_BYTES = 256 * MIB  # more than an idle card's driver takes, less than any model


class Amdgpu:
    """`root` is where the system's `sys` and `usr` are. Cards are named by their PCI address.

    Any reading is None where the driver has none. Readings wake a card: ask `leaves_alone` first.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._pci = PciBus(root)
        self._names = root / "usr/share/libdrm/amdgpu.ids"
        self._clock = clock
        self._rests: dict[str, IdleRest] = {}

    def look(self) -> OnBus:
        """The cards that the amdgpu driver runs, and which others there are."""
        bus = self._pci.look(AMD_VENDOR)
        cards = (card for card in bus.cards if (self._pci.device(card) / "mem_info_vram_total").exists())
        return replace(bus, cards=tuple(cards))

    def is_there(self, card: str) -> bool:
        """Whether the card is on the bus."""
        return self._pci.device(card).exists()

    def is_asleep(self, card: str) -> bool:
        return self._pci.is_asleep(card)

    def leaves_alone(self, card: str) -> bool:
        """Whether the card sleeps, or is to be left alone so that it can fall asleep."""
        rest = self._rest(card)
        if self.is_asleep(card):
            rest.note_sleep()
            return True
        return rest.is_resting

    def note(self, card: str, sample: GpuSample) -> None:
        """After every sample: a card that shows no work and can sleep is left alone for a while."""
        used_bytes = sample.used_memory_bytes or 0
        if sample.utilization_percent or sample.processes or used_bytes > _IDLE_VRAM_BYTES or not self._may_sleep(card):
            self._rest(card).note_work()
        else:
            self._rest(card).begins()

    def name(self, card: str) -> str:
        """The name on the box, as libdrm's list has it for the chip and its revision."""
        device, revision = (read_number(self._pci.device(card) / file) for file in ("device", "revision"))
        wanted = (f"{device or 0:04X}", f"{revision or 0:02X}")
        for line in (read_text(self._names) or "").splitlines():
            fields = [field.strip() for field in line.split(",", 2)]
            if len(fields) == 3 and (fields[0].upper(), fields[1].upper()) == wanted:
                return fields[2]
        return "AMD GPU" if device is None else f"AMD GPU {wanted[0]}"

    def uuid(self, card: str) -> str | None:
        """`GPU-` and the chip's own number, which is what HIP calls it; integrated GPUs have none."""
        unique_id = read_text(self._pci.device(card) / "unique_id")
        return f"GPU-{unique_id}" if unique_id and unique_id.strip("0") else None

    def is_integrated(self, card: str) -> bool:
        """By the layout of the driver's metrics: the tables of format 1 are for cards, 2 and 3 for APUs."""
        try:
            with (self._pci.device(card) / "gpu_metrics").open("rb") as table:
                header = table.read(4)  # 16 bits of size, the format, the format's revision
        except OSError:
            return False
        return len(header) == 4 and header[2] > 1

    def memory(self, card: str, *, integrated: bool) -> Memory | None:
        """A card's VRAM. For an APU that is what the firmware set aside; the RAM it may use besides is added."""
        vram = self._pool(card, "vram")
        if vram is None or not integrated:
            return vram
        return self.with_ram(vram, self._pool(card, "gtt"))

    def with_ram(self, vram: Memory, gtt: Memory | None) -> Memory:
        """The memory of an APU: VRAM, and as much of the RAM as the driver allows (GTT) and as is left."""
        return vram if gtt is None else with_ram(vram, gtt, self._root)

    def utilization_percent(self, card: str) -> int | None:
        return read_number(self._pci.device(card) / "gpu_busy_percent")

    def temperature_c(self, card: str) -> int | None:
        """Of the sensor at the edge of the die."""
        millidegrees = self._sensor(card, "temp1_input")
        return None if millidegrees is None else round(millidegrees / 1000)

    def power_watts(self, card: str) -> float | None:
        """Averaged by the driver, or where it does not do that, of this moment."""
        return _watts(self._sensor(card, "power1_average") or self._sensor(card, "power1_input"))

    def power_limit_watts(self, card: str) -> float | None:
        return _watts(self._sensor(card, "power1_cap"))

    def clock_mhz(self, card: str, name: str) -> int | None:
        """The clock that the driver labels so: `sclk` of the shaders, `mclk` of the memory."""
        for label in self._pci.device(card).glob("hwmon/hwmon*/freq*_label"):
            if read_text(label) == name:
                hertz = read_number(label.with_name(label.name.replace("label", "input")))
                return None if hertz is None else round(hertz / 1_000_000)
        return None

    def fan_percent(self, card: str) -> int | None:
        """How fast the fan is told to turn, of all it can; None without a fan."""
        speed = self._sensor(card, "pwm1")
        return None if speed is None else round(100 * speed / (self._sensor(card, "pwm1_max") or _FASTEST_FAN))

    def _rest(self, card: str) -> IdleRest:
        return self._rests.setdefault(card, IdleRest(self._clock))

    def _may_sleep(self, card: str) -> bool:
        """Whether the driver suspends this card when it is idle; never while it feeds a monitor."""
        device = self._pci.device(card)
        if read_text(device / "power/control") != "auto":
            return False
        return not any(read_text(status) == "connected" for status in device.glob("drm/card*/card*-*/status"))

    def _pool(self, card: str, pool: str) -> Memory | None:
        total, used = (read_number(self._pci.device(card) / f"mem_info_{pool}_{value}") for value in ("total", "used"))
        return None if total is None or used is None else Memory(total, used, max(total - used, 0))

    def _sensor(self, card: str, file: str) -> int | None:
        for path in self._pci.device(card).glob(f"hwmon/hwmon*/{file}"):
            return read_number(path)
        return None


def _watts(microwatts: int | None) -> float | None:
    return None if microwatts is None else microwatts / 1_000_000
