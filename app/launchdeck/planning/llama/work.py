"""What a graph is reserved for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.llama.kv import Cells, Layout


@dataclass(frozen=True, slots=True)
class Work:
    """One batch of `tokens`, of which `outputs` give results, with the whole cache in use; with `flash_attention`, or
    without.
    """

    tokens: int
    outputs: int
    cells: Cells
    layout: Layout
    flash_attention: bool
