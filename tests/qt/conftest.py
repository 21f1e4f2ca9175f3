"""Every widget test starts in English and in the dark theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from launchdeck.ui import i18n, theme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QApplication


@pytest.fixture(autouse=True)
def _usual_looks(qapp: QApplication) -> Iterator[None]:
    i18n.set_language("en")
    theme.apply(qapp, "dark")
    yield
    i18n.set_language("en")
