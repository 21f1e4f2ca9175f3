"""The interface for programs in the status line: whether it is on, where, and what to paste."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QPushButton

from launchdeck.ui.kit.i18n import tr

CURL = 'curl --header "Authorization: Bearer {token}" {url}/api/management/gpus'


class ApiButton(QPushButton):
    """A quiet button with the address; its menu copies what a program needs. The token is never shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("kind", "flat")
        self._url = ""
        self._token = ""
        self._menu = QMenu(self)
        for text, make in (
            (tr("Copy URL"), lambda: self._url),
            (tr("Copy token"), lambda: self._token),
            (tr("Copy curl command"), lambda: CURL.format(token=self._token, url=self._url)),
        ):
            self._menu.addAction(text, _copying(make))
        self.setMenu(self._menu)
        self.hide()

    def show_on(self, url: str, token: str) -> None:
        """It listens there."""
        self._url, self._token = url, token
        self._show(tr("API {url}", url=url), tr("The HTTP interface is on. Choose what to copy."), is_on=True)

    def show_off(self, reason: str) -> None:
        """It does not listen; the reason is read when one looks closer."""
        self._url = self._token = ""
        self._show(tr("API off"), reason, is_on=False)

    def _show(self, text: str, meaning: str, *, is_on: bool) -> None:
        self.setText(text)
        self.setToolTip(meaning)
        self.setAccessibleName(text)
        self.setAccessibleDescription(meaning)
        self.setEnabled(is_on)
        self.show()


def _copying(make: Callable[[], str]) -> Callable[[], None]:
    return lambda: QGuiApplication.clipboard().setText(make())
