"""What NVIDIA's kernel driver tells in /proc without waking a GPU."""

from __future__ import annotations

from pathlib import Path

from launchdeck.hardware.pci import read_text


class NvidiaProc:
    """`root` is where the system's `proc` is."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._folder = root / "proc/driver/nvidia/gpus"

    def addresses(self) -> tuple[str, ...]:
        """The GPUs that the driver has, in the order of the bus; a system that hides its buses may still show these."""
        try:
            return tuple(sorted(path.name for path in self._folder.iterdir()))
        except OSError:
            return ()

    def name(self, address: str) -> str | None:
        return self._value(address, "information", "Model")

    def uuid(self, address: str) -> str | None:
        """None also for a GPU that nobody has opened since the driver was loaded: its UUID is all question marks."""
        uuid = self._value(address, "information", "GPU UUID")
        return None if uuid is None or "?" in uuid else uuid

    def may_sleep(self, address: str) -> bool:
        """Whether the driver suspends this GPU when nobody uses it (RTD3, as good as only in laptops).

        The kernel's own `power/control` says `auto` on servers too, where no GPU is ever suspended.
        """
        return (self._value(address, "power", "Runtime D3 status") or "").startswith("Enabled")

    def _value(self, address: str, file: str, wanted: str) -> str | None:
        for line in (read_text(self._folder / address / file) or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == wanted:
                return value.strip() or None
        return None
