"""What can be done with a deployment in its state: one list for the buttons, the menu and the keys."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from launchdeck.domain.deployment import State
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.errors import Fix


class RowAction(Enum):
    OPEN = auto()
    COPY_URL = auto()
    COPY_KEY = auto()
    COPY_COMMAND = auto()
    SHOW_FAILURE = auto()
    RESTART = auto()
    STOP = auto()
    DISMISS = auto()


_REACHABLE = (RowAction.OPEN, RowAction.COPY_URL, RowAction.COPY_KEY)


def actions_of(deployment: Deployment) -> tuple[RowAction, ...]:
    """All that makes sense now, in the menu's order."""
    reachable = _REACHABLE if deployment.state in {State.RUNNING, State.UNRESPONSIVE} else ()
    failed = (RowAction.SHOW_FAILURE,) if deployment.failure and deployment.failure.evidence else ()
    ended = () if deployment.state.is_live else (RowAction.RESTART,)
    ending = ending_action(deployment)
    return (*reachable, RowAction.COPY_COMMAND, *failed, *ended, *((ending,) if ending else ()))


def ending_action(deployment: Deployment) -> RowAction | None:
    """What ends the row: a live one is stopped, an ended one removed, and one that is stopping takes its time."""
    if deployment.state is State.STOPPING:
        return None
    return RowAction.STOP if deployment.state.is_live else RowAction.DISMISS


def offer(deployment: Deployment) -> Fix | RowAction | None:
    """What an ended row offers as a button: the first fix of its failure, else to start again."""
    if deployment.state.is_live:
        return None
    fixes = deployment.failure.fixes if deployment.failure else ()
    return fixes[0] if fixes else RowAction.RESTART


def offer_text(offered: Fix | RowAction) -> str:
    return action_text(offered) if isinstance(offered, RowAction) else tr(offered.label)


def action_text(action: RowAction) -> str:
    texts = {
        RowAction.OPEN: tr("Open in browser"),
        RowAction.COPY_URL: tr("Copy URL"),
        RowAction.COPY_KEY: tr("Copy API key"),
        RowAction.COPY_COMMAND: tr("Copy command"),
        RowAction.SHOW_FAILURE: tr("Show in the log"),
        RowAction.RESTART: tr("Restart"),
        RowAction.STOP: tr("Stop"),
        RowAction.DISMISS: tr("Remove"),
    }
    return texts[action]
