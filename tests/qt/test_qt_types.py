from __future__ import annotations

import asyncio
import sys

from launchdeck.ui import qt_types


def test_without_a_library_that_only_pyqtgraph_would_use_the_window_starts_too(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "PySide6.QtTest", None)  # as where it cannot be loaded
    asyncio.run(qt_types.make_all())
    assert "QtTest cannot be used" in caplog.text
