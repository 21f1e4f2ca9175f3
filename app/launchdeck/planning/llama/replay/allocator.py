"""Where llama.cpp puts the tensors of a graph within a buffer: into the smallest gap that is large enough.

Source: `ggml_dyn_tallocr_alloc` and `ggml_dyn_tallocr_free_bytes` of ggml (ggml-alloc.c).

It is not best fit as in a textbook, and every difference moves the peak: of gaps of one size the last is taken; the
last gap, which has no end, only where no other fits, so that the buffer grows as late as it can; and gaps lie in the
order of their offsets, but one is united only with its neighbours in the list. So a place without any bytes, as there
are for states that nothing has to be done with, can keep gaps from becoming one when it is given back. ggml splits a
buffer that would become larger than the device allows into chunks; CUDA allows any size, so there is one chunk here.
"""

from __future__ import annotations

_ALIGNMENT = 128
# Together with what is before it: there is no end that could be reached.
_ENDLESS = 1 << 62

# Gaps as (offset, size), in the order in which they are looked at. One of them, usually the last, is endless.
Gaps = tuple[tuple[int, int], ...]

EMPTY: Gaps = ((0, _ENDLESS),)


class BestFit:
    """Gaps between what is alive, and the `peak_bytes` reached so far."""

    def __init__(self, gaps: Gaps = EMPTY) -> None:
        self._gaps = [*gaps]
        self.peak_bytes = max(gaps, key=lambda gap: gap[1])[0]

    @property
    def state(self) -> Gaps:
        """Give what a later allocator has to be made with to go on from here."""
        return tuple(self._gaps)

    def take(self, size: int) -> int:
        """Take a place of this size in the smallest gap it fits into, the last of several, or in the endless one.

        Returns its offset.
        """
        gaps = self._gaps
        best, best_size = len(gaps) - 1, _ENDLESS
        for index in range(len(gaps) - 1):
            free = gaps[index][1]
            if size <= free <= best_size:
                best, best_size = index, free
        offset, free = gaps[best]
        if free == size:
            del gaps[best]
        else:
            gaps[best] = (offset + size, free - size)
        self.peak_bytes = max(self.peak_bytes, offset + size)
        return offset

    def give_back(self, offset: int, size: int) -> None:
        """Free a place, and unite it with the gaps beside it."""
        gaps, end = self._gaps, offset + size
        for index, (begin, free) in enumerate(gaps):
            if begin + free == offset:
                behind = gaps.pop(index + 1)[1] if index + 1 < len(gaps) and gaps[index + 1][0] == end else 0
                gaps[index] = (begin, free + size + behind)
                return
            if end == begin:
                gaps[index] = (offset, size + free)
                if index and sum(gaps[index - 1]) == offset:
                    first, before = gaps[index - 1]
                    gaps[index - 1 : index + 1] = [(first, before + size + free)]
                return
        place = next((index for index, (begin, _) in enumerate(gaps) if begin >= offset), len(gaps))
        gaps.insert(place, (offset, size))


def aligned(size: int) -> int:
    """Round up to what a tensor of this size takes in a buffer of ggml's CUDA backend (`get_alignment`)."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
