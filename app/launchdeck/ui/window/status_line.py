"""The line at the bottom: how many models are in which state, and which ports are left, where programs can ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from launchdeck import __version__
from launchdeck.domain.deployment import Deployment
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.window.api_button import ApiButton

if TYPE_CHECKING:
    from launchdeck.models.hub import Choice
    from launchdeck.network.download import Progress


_HEIGHT_PX = 28


class StatusLine(QFrame):
    """`download` is there while a model is on its way, and leads to it."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self.setFixedHeight(_HEIGHT_PX)  # also when a button comes: nothing above it moves
        self._models = QLabel()
        self._ports = QLabel()
        self.download = QPushButton(visible=False)
        self.download.setProperty("kind", "flat")
        self.api = ApiButton()
        version = QLabel(f"Launchdeck {__version__}")
        for label in (self._models, self._ports, version):
            label.setProperty("role", "small")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 0)
        layout.setSpacing(24)
        layout.addWidget(self._models)
        layout.addWidget(self._ports)
        layout.addStretch(1)
        layout.addWidget(self.download)
        layout.addWidget(self.api)
        layout.addWidget(version)

    def show_download(self, choice: Choice | None, progress: Progress | None) -> None:
        """A download that is on its way, in a few words; None: there is none."""
        self.download.setVisible(choice is not None)
        if choice is not None:
            percent = 0 if progress is None else 100 * progress.done_bytes // max(progress.total_bytes, 1)
            self.download.setText(f"↓ {choice.name}  {percent} %")
            self.download.setAccessibleName(tr("Download of {name}", name=choice.name))

    def show_deployments(self, deployments: Sequence[Deployment], ports: range) -> None:
        """Count the states, and the ports nobody of ours holds."""
        count = Counter(d.state.status for d in deployments)
        self._models.setText(
            tr(
                "{running} running, {loading} loading, {failed} failed",
                running=count["running"],
                loading=count["loading"],
                failed=count["failed"],
            )
        )
        free = len(ports) - len({d.plan.port for d in deployments if d.state.is_live} & set(ports))
        self._ports.setText(tr("ports {first}–{last}: {free} free", first=ports.start, last=ports.stop - 1, free=free))
