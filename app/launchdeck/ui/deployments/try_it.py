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


class TryItTab(QWidget):
    """Follows one deployment; what is under way is cancelled when another one comes, or when this one stops running.

    `chat` and `embed` do the asking (see `engines.client`); they run on the application's event loop.
    """

    speed_measured = Signal(str, float)

    def __init__(self, chat: Chat, embed: Embed, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chat = ChatPane(chat)
        self._embed = EmbedPane(embed)
        self._hint = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        self._hint.setProperty("role", "muted")
        self._panes = QStackedLayout(self)
        for pane in (self._hint, self._chat, self._embed):
            self._panes.addWidget(pane)
        self._chat.speed_measured.connect(self.speed_measured)
        self.setAccessibleName(tr("Try it"))
        self.show_deployment(None)

    def show_deployment(self, deployment: Deployment | None) -> None:
        """Talk to this one from now on; another moment of the same one disturbs nothing."""
        if deployment is None or deployment.state not in _REACHABLE:
            self.cancel()
            self._hint.setText(_hint(deployment))
            self._panes.setCurrentWidget(self._hint)
            return
        pane = self._embed if deployment.plan.request.server_type is ServerType.EMBEDDING else self._chat
        other = self._chat if pane is self._embed else self._embed
        other.cancel()
        pane.set_deployment(deployment)
        self._panes.setCurrentWidget(pane)

    def take_focus(self) -> None:
        """Where one types."""
        self._panes.currentWidget().setFocus()

    def cancel(self) -> None:
        """Give up what is under way; also to be called before the event loop ends."""
        self._chat.cancel()
        self._embed.cancel()


def _hint(deployment: Deployment | None) -> str:
    if deployment is None:
        return tr("Choose a running deployment above to ask it something.")
    return tr("{name} is not running, so it cannot be asked anything.", name=deployment.plan.model_id)
