"""Rehearsals of the same work on GPUs in different surroundings."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.blocks import Blocks, Surroundings
    from launchdeck.planning.llama.replay.rehearsal import Rehearsal
    from launchdeck.planning.llama.work import Work


class Rehearsals:
    """Each is made when it is asked for, and is the same for surroundings that make no difference to this model."""

    def __init__(self, blocks: Blocks, work: Work, *, copies_all_rows: bool) -> None:
        self._blocks = blocks
        self._work = work
        self._copies_all_rows = copies_all_rows
        self._reused = blocks.reused
        self._embeds_each = blocks.embeds_each
        self._has_delta_nets = blocks.has_delta_nets
        self._made: dict[Surroundings, Rehearsal | None] = {}

    def of(self, surroundings: Surroundings) -> Rehearsal | None:
        """Give the one for a GPU in these."""
        reused = bisect_left(self._reused, surroundings.own_from)
        matters = surroundings._replace(
            own_from=self._reused[reused - 1] + 1 if reused else 0,
            is_first=surroundings.is_first or not self._embeds_each,
            gives_results=surroundings.gives_results or not self._copies_all_rows,
            fuses=surroundings.fuses or not self._has_delta_nets,
        )
        if matters not in self._made:
            self._made[matters] = self._blocks.rehearsal(self._work, matters)
        return self._made[matters]
