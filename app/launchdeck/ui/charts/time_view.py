"""Which stretch of time the charts show, and how pan and zoom move it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

SHORTEST_S = 10.0
LONGEST_S = 24 * 3600.0
_EDGE = 0.97  # zooming about a place beyond this share of the range keeps hold of the latest reading


@dataclass(frozen=True, slots=True)
class TimeView:
    """`range_s` seconds up to `until_s` (Unix time). While `following`, the end moves along with the readings.

    Places are shares of the range, from 0 at its beginning to 1 at its end. `now_s` is the time of the latest
    reading: nothing is shown beyond it, nor what lies more than 24 hours before it.
    """

    range_s: float
    until_s: float = 0.0
    following: bool = True

    @property
    def since_s(self) -> float:
        return self.until_s - self.range_s

    def place_of(self, time_s: float) -> float:
        return 1 - (self.until_s - time_s) / self.range_s

    def time_at(self, place: float) -> float:
        return self.until_s - (1 - place) * self.range_s

    def advanced(self, now_s: float) -> TimeView:
        """There is a new reading."""
        return replace(self, until_s=now_s) if self.following else self

    def held(self) -> TimeView:
        """The same stretch of time, whatever comes."""
        return replace(self, following=False)

    def live(self, now_s: float, range_s: float | None = None) -> TimeView:
        """Back to the latest reading."""
        return TimeView(self.range_s if range_s is None else range_s, now_s)

    def panned(self, share: float, now_s: float) -> TimeView:
        """Later by this share of the range, or earlier where it is negative."""
        return self._within(self.range_s, self.until_s + share * self.range_s, now_s)

    def zoomed(self, factor: float, place: float, now_s: float) -> TimeView:
        """A range `factor` times as long; what is at `place` stays there."""
        if self.following and place > _EDGE:
            place = 1.0
        range_s = min(max(self.range_s * factor, SHORTEST_S), LONGEST_S)
        return self._within(range_s, self.time_at(place) + (1 - place) * range_s, now_s)

    def _within(self, range_s: float, until_s: float, now_s: float) -> TimeView:
        """Whoever comes back to the latest reading follows it again."""
        until_s = max(until_s, now_s - LONGEST_S + range_s)
        return TimeView(range_s, min(until_s, now_s), following=until_s >= now_s)
