"""What needs attention, in the user's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.monitor.alerts import AlertKind
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.monitor.alerts import Alert


def alert_text(alert: Alert) -> str:
    """Without the GPU's name, for its card. The limit, not the value, so that it does not change all the time."""
    match alert.kind:
        case AlertKind.VRAM:
            return tr("Memory is more than {limit} % full", limit=alert.limit)
        case AlertKind.TEMPERATURE:
            return tr("Above {limit} °C", limit=alert.limit)
        case AlertKind.LOST:
            return tr("It does not answer any more")
