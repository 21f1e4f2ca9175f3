"""What a value may be that is read back from a file, said at its field: `Annotated[int, Between(1, 65535)]`."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both included; NaN is none."""

    low: float
    high: float

    def check(self, value: float) -> None:
        """Raise ValueError for a number that is not between."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is not between {self.low} and {self.high}")


@dataclass(frozen=True, slots=True)
class Length:
    """A text or a list of `low` to `high` characters or items, both included."""

    low: int
    high: int

    def check(self, value: Sized) -> None:
        """Raise ValueError for one that is shorter or longer."""
        if not self.low <= len(value) <= self.high:
            raise ValueError(f"a length of {len(value)} is not between {self.low} and {self.high}")


UnixSeconds = Annotated[float, Between(0, 1 << 33)]
"""A moment until the year 2242."""
Port = Annotated[int, Between(1, 65535)]
Count = Annotated[int, Between(0, (1 << 31) - 1)]
"""What engines and widgets take: a signed 32-bit number."""
Bytes = Annotated[int, Between(0, 1 << 53)]
"""Of any memory."""
Pid = Annotated[int, Between(2, 1 << 22)]
"""A process of ours: never init, and at most what Linux gives out (PID_MAX_LIMIT)."""
StartTime = Annotated[int, Between(0, 1 << 62)]
"""In clock ticks since boot."""
