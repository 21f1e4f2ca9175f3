from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication

import launchdeck
from fakes.samples import gpu, inventory, two_gpus
from launchdeck.domain.gpu import GpuType
from launchdeck.monitor.history import History
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.kit import theme
from qt.chart_driver import NOW_S, at, colored_columns, drawn_in, feed, picture, values


@pytest.fixture
def charts(qtbot) -> Charts:
    made = Charts()
    qtbot.addWidget(made)
    made.resize(760, 370)
    made.show()
    made.show_history(History(5.0))
    return made


def test_nothing_heavy_is_imported_for_the_first_frame():
    """The window is painted before numpy, which takes longer than all of Qt."""
    code = """if True:
        import sys
        from PySide6.QtWidgets import QApplication
        app = QApplication([])
        from launchdeck.ui.charts import charts
        from launchdeck.ui.gpus import gpu_cards
        from launchdeck.ui.kit import theme
        from launchdeck.ui.window import tray
        theme.apply(app, "dark")
        shown = charts.Charts(), gpu_cards.GpuCards(), tray.Tray()
        shown[0].grab()
        print([name for name in ("numpy", "pydantic", "httpx") if name in sys.modules])
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(launchdeck.__file__).parents[1])}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_legend_tells_the_latest_values(charts: Charts):
    charts.show_inventory(at(NOW_S, 11.44, 43))
    assert values(charts.memory) == ["11.4", "5.7"]
    assert values(charts.utilization) == ["43", "Not measurable"]
    assert charts.utilization.legend.entries()[1].accessibleName() == "1 RX 7900 XTX: Not measurable"


def test_curves_reach_the_right_edge_in_their_colours(charts: Charts):
    feed(charts, [6.0] * 60)
    columns = colored_columns(charts.utilization, theme.tokens().curve(0))
    assert max(columns) >= charts.utilization.plot.width() - 3
    assert min(columns) <= charts.utilization.plot.width() * 0.03
    assert colored_columns(charts.utilization, theme.tokens().curve(1)) == set()


def test_a_missing_reading_is_a_gap(charts: Charts):
    feed(charts, [6.0] * 20 + [None] * 20 + [6.0] * 20)
    columns = colored_columns(charts.utilization, theme.tokens().curve(0))
    width = charts.utilization.plot.width()
    gap = {x for x in range(width) if 0.37 * width < x < 0.63 * width}
    assert columns
    assert not columns & gap


def test_larger_values_are_higher(charts: Charts):
    heights = []
    for used_gib in (3.0, 20.0):
        feed(charts, [used_gib] * 60)
        heights.append(np.flatnonzero(drawn_in(charts.memory, theme.tokens().curve(0)).any(axis=1)).mean())
    assert heights[1] < heights[0] - 50


def test_the_legend_marks_a_gpu_that_is_not_ours(charts: Charts):
    machine = two_gpus()
    hidden = replace(machine.gpus[0], gpu=replace(machine.gpus[0].gpu, ours=False))
    charts.show_inventory(replace(machine, gpus=(hidden, machine.gpus[1])))
    names = [entry.accessibleName().partition(":")[0] for entry in charts.memory.legend.entries()]
    assert names == ["0 RTX 4090 (not ours)", "1 RX 7900 XTX"]


def test_a_click_on_the_legend_hides_the_curve_in_both_charts(qtbot, charts: Charts):
    feed(charts, [6.0] * 60)
    qtbot.mouseClick(charts.memory.legend.entries()[0], Qt.MouseButton.LeftButton)
    assert colored_columns(charts.utilization, theme.tokens().curve(0)) == set()
    assert not charts.utilization.legend.entries()[0].isChecked()
    qtbot.mouseClick(charts.utilization.legend.entries()[0], Qt.MouseButton.LeftButton)
    assert colored_columns(charts.utilization, theme.tokens().curve(0))


def test_a_hidden_curve_stays_hidden_while_samples_come(qtbot, charts: Charts):
    feed(charts, [6.0] * 60)
    qtbot.mouseClick(charts.utilization.legend.entries()[0], Qt.MouseButton.LeftButton)
    charts.show_inventory(at(NOW_S + 5))
    assert colored_columns(charts.utilization, theme.tokens().curve(0)) == set()


def test_a_gpu_found_during_a_pause_can_be_hidden(qtbot, charts: Charts):
    charts.show_inventory(inventory())
    charts.set_paused(True)
    feed(charts, [6.0] * 60)
    qtbot.mouseClick(charts.memory.legend.entries()[0], Qt.MouseButton.LeftButton)
    charts.set_paused(False)
    assert colored_columns(charts.utilization, theme.tokens().curve(0)) == set()


def test_pause_holds_the_picture_and_loses_nothing(charts: Charts):
    feed(charts, [6.0] * 60)
    before = picture(charts.memory)
    charts.set_paused(True)
    charts.show_inventory(at(NOW_S + 5, 20.0))
    assert picture(charts.memory) == before
    assert values(charts.memory) == ["6.0", "3.0"]
    charts.set_paused(False)
    assert picture(charts.memory) != before
    assert values(charts.memory) == ["20.0", "10.0"]


def test_nothing_is_drawn_while_hidden_and_all_when_shown(charts: Charts):
    feed(charts, [6.0] * 60)
    charts.hide()
    charts.show_inventory(at(NOW_S + 5, 20.0))
    assert values(charts.memory) == ["6.0", "3.0"]
    charts.show()
    assert values(charts.memory) == ["20.0", "10.0"]


def test_a_longer_range_shows_more(charts: Charts):
    feed(charts, [6.0] * 60)
    charts.set_range_s(3600)
    columns = colored_columns(charts.utilization, theme.tokens().curve(0))
    assert min(columns) > charts.utilization.plot.width() * 0.85


def test_markers_stand_at_their_time(charts: Charts):
    feed(charts, [6.0] * 60)
    charts.add_marker(NOW_S - 150, "qwen3-8b ready", "ready")
    columns = colored_columns(charts.memory, theme.tokens().ok)
    assert min(columns) == pytest.approx(charts.memory.plot.width() / 2, abs=2)
    charts.set_range_s(60)
    assert colored_columns(charts.memory, theme.tokens().ok) == set()


def test_the_crosshair_reads_the_past(qtbot, charts: Charts):
    feed(charts, [6.0] * 30 + [18.0] * 30)
    plot = charts.memory.plot
    qtbot.mouseMove(plot, QPoint(plot.width() // 4, 20))
    qtbot.waitUntil(lambda: values(charts.memory) == ["6.0", "3.0"])
    plot.hovered.emit(None)
    assert values(charts.memory) == ["18.0", "9.0"]


def test_without_a_gpu_the_charts_show_the_cpu(charts: Charts):
    charts.show_inventory(inventory())
    assert (charts.memory.title, charts.utilization.title) == ("RAM", "CPU load")
    assert values(charts.memory) == ["18.2"]
    assert values(charts.utilization) == ["12"]
    assert charts.memory.plot.top == 64


def test_a_gpu_that_comes_later_gets_its_curve(charts: Charts):
    charts.show_inventory(inventory())
    feed(charts, [6.0] * 60)
    assert charts.memory.title == "VRAM"
    assert colored_columns(charts.memory, theme.tokens().curve(1))


def test_what_came_before_the_history_is_in_it(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    charts.show()
    charts.show_inventory(at(NOW_S, 7.0))
    assert values(charts.memory) == ["7.0", "3.5"]
    charts.show_history(History(5.0))
    charts.show_inventory(at(NOW_S + 5, 7.0))
    assert colored_columns(charts.memory, theme.tokens().curve(1))


def test_a_pause_in_the_samples_is_a_gap_by_the_interval(charts: Charts):
    charts.set_interval_s(60)
    feed(charts, [6.0] * 5, step_s=60)
    whole = colored_columns(charts.utilization, theme.tokens().curve(0))
    assert max(whole) - min(whole) + 1 == len(whole)


def test_curves_take_the_themes_colours(qapp: QApplication, charts: Charts):
    feed(charts, [6.0] * 60)
    theme.apply(qapp, "light")
    assert colored_columns(charts.utilization, theme.LIGHT.curve(0))


def test_a_narrow_legend_keeps_the_numbers_of_the_devices(charts: Charts):
    charts.show_inventory(at(NOW_S))
    wide = charts.memory.legend.entries()[0].width()
    charts.resize(300, 370)
    QApplication.processEvents()
    assert charts.memory.legend.entries()[0].width() < wide
    assert charts.memory.legend.entries()[0].toolTip().startswith("0 RTX 4090  12.0")


def test_a_narrow_legend_of_many_devices_cuts_nothing_off(qtbot, charts: Charts):
    for count in (8, 16):
        charts.show_inventory(inventory(*(gpu(index, "H100", GpuType.NVIDIA, 80, 11) for index in range(count))))
        charts.resize(330, 370)
        QApplication.processEvents()
        legend = charts.utilization.legend
        entries = legend.entries()
        assert len(entries) == count
        assert all(entry.width() >= entry.sizeHint().width() for entry in entries)
        assert entries[-1].geometry().right() <= legend.width()


def test_the_first_reading_can_be_seen(charts: Charts):
    feed(charts, [6.0])
    columns = colored_columns(charts.utilization, theme.tokens().curve(0))
    assert len(columns) >= 3
    assert max(columns) >= charts.utilization.plot.width() - 3


def test_a_reading_between_two_gaps_can_be_seen(charts: Charts):
    feed(charts, [6.0] * 20 + [None] * 10 + [6.0] + [None] * 10 + [6.0] * 20)
    width = charts.utilization.plot.width()
    columns = colored_columns(charts.utilization, theme.tokens().curve(0))
    assert {x for x in range(width) if 0.6 * width < x < 0.72 * width} & columns


def test_a_recorded_machine_is_marked_in_what_is_saved_too(charts: Charts):
    charts.show_inventory(replace(at(NOW_S), replayed=True))
    assert charts.memory.title == "VRAM · REPLAY"
    assert all("REPLAY" in column.title for column in charts.visible_columns())


def test_a_chart_that_nobody_can_fill_says_so(charts: Charts):
    charts.show_inventory(at(NOW_S, 6.0, None))
    assert charts.utilization.plot.note == "Not measurable"
    assert charts.memory.plot.note == ""
    charts.show_inventory(at(NOW_S + 5, 6.0, 7))
    assert charts.utilization.plot.note == ""
    charts.show_inventory(at(NOW_S + 10, 6.0, None))
    assert charts.utilization.plot.note == ""  # what was measured can still be seen
