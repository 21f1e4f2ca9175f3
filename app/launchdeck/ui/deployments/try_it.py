"""The tab that asks a running model something: a chat for a language model, vectors for an embedding model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QStackedLayout, QWidget

from launchdeck.domain.deployment import State
from launchdeck.domain.model import ServerType
from launchdeck.ui.deployments.try_chat import Chat, ChatPane
from launchdeck.ui.deployments.try_embed import Embed, EmbedPane
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

_REACHABLE = {State.RUNNING, State.UNRESPONSIVE}
_MOST_CONVERSATIONS = 16


class TryItTab(QWidget):
    """Follows one deployment. Each has a conversation of its own, which goes on while one looks at another; it is given
    up when the deployment is seen to run no more, and the oldest ones are when there are many.

    `chat` and `embed` do the asking (see `engines.client`); they run on the application's event loop.
    """

    speed_measured = Signal(str, float)

    def __init__(self, chat: Chat, embed: Embed, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ask_chat = chat
        self._ask_embed = embed
        self._made: dict[str, ChatPane | EmbedPane] = {}
        self._hint = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        self._hint.setProperty("role", "muted")
        self._panes = QStackedLayout(self)
        self._panes.addWidget(self._hint)
        self.setAccessibleName(tr("Try it"))
        self.show_deployment(None)

    def show_deployment(self, deployment: Deployment | None) -> None:
        """Talk to this one from now on; another moment of the same one disturbs nothing."""
        if deployment is None:
            self.cancel()
        elif deployment.state in _REACHABLE:
            pane = self._made.get(deployment.id) or self._make_pane(deployment)
            pane.set_deployment(deployment)
            self._panes.setCurrentWidget(pane)
            return
        elif deployment.id in self._made:
            self._made[deployment.id].cancel()
        self._hint.setText(_hint(deployment))
        self._panes.setCurrentWidget(self._hint)

    def take_focus(self) -> None:
        """Give the keyboard to where one types."""
        if (pane := self._panes.currentWidget()) is not None:
            pane.setFocus()

    def cancel(self) -> None:
        """Give up all that is under way; also to be called before the event loop ends."""
        for pane in self._made.values():
            pane.cancel()

    def _make_pane(self, deployment: Deployment) -> ChatPane | EmbedPane:
        while len(self._made) >= _MOST_CONVERSATIONS:
            oldest = self._made.pop(next(iter(self._made)))
            oldest.cancel()
            self._panes.removeWidget(oldest)
            oldest.deleteLater()
        pane: ChatPane | EmbedPane
        if deployment.plan.request.server_type is ServerType.EMBEDDING:
            pane = EmbedPane(self._ask_embed)
        else:
            pane = ChatPane(self._ask_chat)
            pane.speed_measured.connect(self.speed_measured)
        self._made[deployment.id] = pane
        self._panes.addWidget(pane)
        return pane


def _hint(deployment: Deployment | None) -> str:
    if deployment is None:
        return tr("Choose a running deployment above to ask it something.")
    return tr("{name} is not running, so it cannot be asked anything.", name=deployment.plan.model_id)
