"""The line at the bottom: how many models are in which state, and which ports are left, where programs can ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from launchdeck import __version__
from launchdeck.domain.deployment import Deployment
from launchdeck.ui.api_button import ApiButton
from launchdeck.ui.i18n import tr


class StatusLine(QFrame):
    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self._models = QLabel()
        self._ports = QLabel()
        self.api = ApiButton()
        version = QLabel(f"Launchdeck {__version__}")
        for label in (self._models, self._ports, version):
            label.setProperty("role", "small")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 4, 16, 4)
        layout.setSpacing(24)
        layout.addWidget(self._models)
        layout.addWidget(self._ports)
        layout.addStretch(1)
        layout.addWidget(self.api)
        layout.addWidget(version)

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
