"""One colour per deployment, the same in the cards, the table and the charts, for as long as it is listed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from launchdeck.ui.kit import theme

if TYPE_CHECKING:
    from collections.abc import Iterable

_places: dict[str, int] = {}


def model_color(deployment_id: str) -> str:
    """The deployment's colour in the current theme; a new one gets the colour that is used least."""
    colors = theme.tokens().models
    if deployment_id not in _places:
        used = Counter(_places.values())
        _places[deployment_id] = min(range(len(colors)), key=lambda place: (used[place], place))
    return colors[_places[deployment_id]]


def keep_model_colors(deployment_ids: Iterable[str]) -> None:
    """Give back the colours of all other deployments."""
    kept = set(deployment_ids)
    for gone in _places.keys() - kept:
        del _places[gone]
