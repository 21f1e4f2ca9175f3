"""How long a driver is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: for a look at which devices a driver has, for one device's reading, and for PyTorch's look."""

    opening_s: float
    reading_s: float
    last_resort_s: float
