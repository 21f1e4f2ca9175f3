"""Where llama.cpp puts the tensors of a graph within a buffer: into the smallest gap that is large enough.

Source: `ggml_dyn_tallocr` of llama.cpp (ggml-alloc.c).
"""

from __future__ import annotations

_ALIGNMENT = 128

# Gaps as (offset, size), in the order of their offsets. Behind the last one is nothing any more.
Gaps = tuple[tuple[int, int], ...]


class BestFit:
    """Gaps between what is alive, beyond which everything is free, and the `peak_bytes` reached so far."""

    def __init__(self, gaps: Gaps = (), end: int = 0) -> None:
        self._gaps = [*gaps]
        self._end = end
        self.peak_bytes = end

    @property
    def state(self) -> tuple[Gaps, int]:
        """What a later allocator has to be made with to go on from here."""
        return tuple(self._gaps), self._end

    def take(self, size: int) -> int:
        """The offset of a place of this size: in the smallest gap it fits into, the last of several, or at the end."""
        best, best_size = -1, 0
        for index, (_, free) in enumerate(self._gaps):
            if free >= size and (best < 0 or free <= best_size):
                best, best_size = index, free
        if best < 0:
            offset = self._end
            self._end = offset + size
            self.peak_bytes = max(self.peak_bytes, self._end)
            return offset
        offset = self._gaps[best][0]
        if best_size == size:
            del self._gaps[best]
        else:
            self._gaps[best] = (offset + size, best_size - size)
        return offset

    def give_back(self, offset: int, size: int) -> None:
        """Free a place, and unite it with the gaps beside it."""
        gaps, index = self._gaps, 0
        while index < len(gaps) and gaps[index][0] < offset:
            index += 1
        end = offset + size
        if index < len(gaps) and gaps[index][0] == end:
            end += gaps.pop(index)[1]
        if index and sum(gaps[index - 1]) == offset:
            index -= 1
            offset = gaps.pop(index)[0]
        if end == self._end:
            self._end = offset
        else:
            gaps.insert(index, (offset, end - offset))


def aligned(size: int) -> int:
    """The bytes a tensor of this size takes in a GPU's buffer."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
