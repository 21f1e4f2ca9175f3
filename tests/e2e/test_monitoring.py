"""The real window over NVIDIA's driver: alerts come and go, and devices are looked for anew on demand."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from e2e.window import click, in_real_window, quick_settings, until
from fakes.nvml import GIB, FakeNvml
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.gpus.detection_button import DetectionButton
from launchdeck.ui.gpus.detection_dialog import DetectionDialog

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """One RTX 4090 with 24 GiB at 61 °C."""
    fake = FakeNvml(nvml_library, tmp_path)
    fake.connect(monkeypatch)
    fake.add_gpu()
    return fake


def test_a_hot_and_full_gpu_is_told_once_and_marked_until_it_is_not(nvml: FakeNvml) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        notice = application.window.notice
        card = application.panels.cards.cards()[0]
        await until(lambda: "61 °C" in card.accessibleDescription(), "the first reading")
        assert "▲" not in card.accessibleDescription()
        nvml.set(**{"0.temp": 92, "0.used": 23 * GIB})
        await until(lambda: "Above 90 °C" in notice.text, "the notice")
        assert "0 RTX 4090: Memory is more than 95 % full" in notice.text
        assert "▲ Above 90 °C" in card.accessibleDescription()
        notice.hide()
        nvml.set(**{"0.temp": 88})
        await until(lambda: "88 °C" in card.accessibleDescription(), "the next reading")
        assert "Above 90 °C" in card.accessibleDescription()
        nvml.set(**{"0.temp": 80, "0.used": GIB})
        await until(lambda: "▲" not in card.accessibleDescription(), "the end of the alerts")
        assert notice.text == ""

    in_real_window(journey, quick_settings())


def test_devices_are_looked_for_anew_from_the_detection_view(nvml: FakeNvml) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        cards = application.panels.cards
        await until(lambda: len(cards.cards()) == 2, "the GPU and the CPU")
        QTest.mouseClick(cards.findChild(DetectionButton), Qt.MouseButton.LeftButton)
        (dialog,) = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, DetectionDialog)]
        assert "NVIDIA's library (NVML): ✓ Found · Driver 580.95.05" in dialog.lines
        nvml.add_gpu(name="NVIDIA A2")
        nvml.set(driver="590.1")
        click(dialog, "Scan again")
        await until(lambda: len(cards.cards()) == 3, "the new GPU")
        assert "NVIDIA's library (NVML): ✓ Found · Driver 590.1" in dialog.lines
        click(dialog, "Close")
        assert not dialog.isVisible()

    in_real_window(journey, quick_settings())
