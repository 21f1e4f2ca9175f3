"""Moving through time with wheel, drag and keys; markers that can be read; and saving what is visible."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.monitor.history import History
from launchdeck.ui.charts.chart_export import ChartExport
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.charts.table import Column, csv_text
from launchdeck.ui.charts.time_axis import clock_marks
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.notice import Notice
from launchdeck.ui.window.top_bar import TopBar
from qt.chart_driver import NOW_S, at, colored_columns, feed, picture, values


@pytest.fixture
def charts(qtbot) -> Charts:
    """Five minutes at 5 s, of which the last half has more memory taken."""
    made = Charts()
    qtbot.addWidget(made)
    made.resize(760, 370)
    made.show()
    made.show_history(History(5.0))
    feed(made, [6.0] * 31 + [18.0] * 30)
    return made


def wheel(charts: Charts, place: float, notches: int, sideways: int = 0) -> None:
    plot = charts.memory.plot
    spot = QPointF(place * plot.width(), 20)
    turned = QPoint(120 * sideways, 120 * notches)
    event = QWheelEvent(
        spot,
        plot.mapToGlobal(spot),
        QPoint(),
        turned,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(plot, event)


def drag(qtbot, charts: Charts, from_place: float, to_place: float) -> None:
    plot = charts.utilization.plot
    begin, end = (QPoint(round(place * plot.width()), 30) for place in (from_place, to_place))
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=begin)
    qtbot.mouseMove(plot, end)
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=end)
    plot.hovered.emit(None)


def ready_column(charts: Charts) -> float:
    """Where the green line of a marker stands, as a share of the width."""
    return min(colored_columns(charts.memory, theme.tokens().ok)) / charts.memory.plot.width()


def test_the_wheel_zooms_both_charts_about_the_pointer(charts: Charts):
    charts.add_marker(NOW_S - 225, "ready", "ready")
    assert ready_column(charts) == pytest.approx(0.25, abs=0.01)
    wheel(charts, 0.25, 3)
    assert ready_column(charts) == pytest.approx(0.25, abs=0.01)
    assert charts.utilization.plot._range_s == charts.memory.plot._range_s == pytest.approx(300 * 0.8**3)


def test_dragging_pans_and_the_values_are_those_of_the_right_edge(qtbot, charts: Charts):
    assert values(charts.memory) == ["18.0", "9.0"]
    drag(qtbot, charts, 0.2, 0.8)
    assert values(charts.memory) == ["6.0", "3.0"]
    assert max(colored_columns(charts.memory, theme.tokens().curve(0))) >= charts.memory.plot.width() - 3


def test_a_turn_sideways_pans(charts: Charts):
    charts.add_marker(NOW_S - 150, "ready", "ready")
    wheel(charts, 0.5, 0, sideways=2)
    assert ready_column(charts) == pytest.approx(0.7, abs=0.01)


def test_readings_do_not_move_a_panned_chart(qtbot, charts: Charts):
    drag(qtbot, charts, 0.2, 0.8)
    before = picture(charts.memory)
    charts.show_inventory(at(NOW_S + 5, 20.0))
    assert picture(charts.memory) == before


def test_keys_move_and_end_goes_back(qtbot, charts: Charts):
    views = []
    charts.view_changed.connect(lambda *view: views.append(view))
    plot = charts.memory.plot
    for _ in range(6):
        qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert values(charts.memory) == ["6.0", "3.0"]
    qtbot.keyClick(plot, Qt.Key.Key_End)
    assert values(charts.memory) == ["18.0", "9.0"]
    qtbot.keyClick(plot, Qt.Key.Key_Plus)
    qtbot.keyClick(plot, Qt.Key.Key_Minus)
    assert views == [(300.0, False), (300.0, True), (240.0, True), (300.0, True)]


def test_the_charts_are_stops_of_the_tab_key(charts: Charts):
    for panel in (charts.memory, charts.utilization):
        assert panel.plot.focusPolicy() & Qt.FocusPolicy.TabFocus
        assert panel.plot.accessibleName() == panel.title
        assert "End" in panel.plot.accessibleDescription()


def test_before_the_first_reading_nothing_moves(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    moved = []
    charts.view_changed.connect(lambda *view: moved.append(view))
    wheel(charts, 0.5, 1)
    drag(qtbot, charts, 0.2, 0.8)
    assert moved == []


def test_a_crosshair_that_stays_reads_what_comes_under_it(qtbot, charts: Charts):
    charts.memory.plot.hovered.emit(0.9)
    assert values(charts.memory) == ["18.0", "9.0"]
    for _ in range(5):
        qtbot.keyClick(charts.memory.plot, Qt.Key.Key_Left)
    assert values(charts.memory) == ["6.0", "3.0"]


def test_where_nothing_was_measured_the_crosshair_reads_nothing(charts: Charts):
    charts.set_range_s(3600)
    charts.memory.plot.hovered.emit(0.3)
    assert values(charts.memory) == ["Not measurable", "Not measurable"]


def test_within_a_pixel_the_curves_stay_and_the_values_move(charts: Charts):
    charts.set_range_s(24 * 3600)
    before = charts.memory.plot._curves[at(NOW_S).gpus[0].gpu.uuid]
    charts.show_inventory(at(NOW_S + 1, 20.0))
    assert charts.memory.plot._curves[at(NOW_S).gpus[0].gpu.uuid] is before
    assert values(charts.memory) == ["20.0", "10.0"]
    charts.show_inventory(at(NOW_S + 200, 20.0))
    assert charts.memory.plot._curves[at(NOW_S).gpus[0].gpu.uuid] is not before


# the top bar


def test_back_to_now_is_there_only_while_it_is_needed(qtbot, charts: Charts):
    bar = TopBar()
    qtbot.addWidget(bar)
    bar.show()
    charts.view_changed.connect(bar.show_view)
    bar.now_requested.connect(charts.go_live)
    bar.range_changed.connect(charts.set_range_s)
    bar.paused_changed.connect(charts.set_paused)
    assert not bar._now.isVisible()
    drag(qtbot, charts, 0.2, 0.8)
    assert bar._now.isVisible()
    assert bar._pause.isChecked()
    qtbot.mouseClick(bar._now, Qt.MouseButton.LeftButton)
    assert not bar._now.isVisible()
    assert not bar._pause.isChecked()
    assert values(charts.memory) == ["18.0", "9.0"]


def test_choosing_a_range_goes_back_to_now(qtbot, charts: Charts):
    bar = TopBar()
    qtbot.addWidget(bar)
    charts.view_changed.connect(bar.show_view)
    bar.range_changed.connect(charts.set_range_s)
    wheel(charts, 0.5, 2)
    assert bar.range.value() is None
    chosen = bar.range._buttons.button(1)
    assert chosen.focusPolicy() == Qt.FocusPolicy.StrongFocus
    qtbot.mouseClick(chosen, Qt.MouseButton.LeftButton)
    assert bar.range.value() == 300
    assert values(charts.memory) == ["18.0", "9.0"]
    assert not bar._pause.isChecked()


# marks of the clock


def test_clock_marks_are_round_times_inside_the_range():
    marks = clock_marks(NOW_S - 130, NOW_S)
    times = [NOW_S - 130 + mark.place * 130 for mark in marks]
    assert 2 <= len(marks) <= 7
    assert all(0 <= mark.place <= 1 for mark in marks)
    assert all(round(time_s) % 30 == 0 for time_s in times)
    assert marks[0].text == datetime.fromtimestamp(times[0]).strftime("%H:%M:%S")  # noqa: DTZ006
    assert all(len(mark.text) == len("14:05") for mark in clock_marks(NOW_S - 7000, NOW_S))


# markers


def test_a_label_near_the_right_edge_stands_left_of_its_line(charts: Charts):
    charts.add_marker(NOW_S - 2, "qwen3-8b ready", "ready")
    columns = colored_columns(charts.memory, theme.tokens().ok)
    assert min(columns) < charts.memory.plot.width() - 60
    assert max(columns) >= charts.memory.plot.width() - 8


def test_labels_of_one_moment_stand_below_each_other(charts: Charts):
    for name, kind in (("a", "failed"), ("b", "started"), ("c", "ready")):
        charts.add_marker(NOW_S - 150, f"model-{name} {kind}", kind)
    labels = charts.memory.plot._labels()
    assert {text for _, text, _ in labels} == {"model-a failed", "model-b started", "model-c ready"}
    areas = [area for _, _, area in labels]
    assert not any(one.intersects(other) for one in areas for other in areas if one is not other)


def test_a_long_name_is_shortened(charts: Charts):
    charts.add_marker(NOW_S - 150, "x" * 300 + " failed", "failed")
    ((_, text, area),) = charts.memory.plot._labels()
    assert "…" in text
    assert area.width() <= charts.memory.plot.width() / 2


# saving


def export(charts: Charts, notice: Notice) -> ChartExport:
    """A question that is answered is carried out at once."""
    return ChartExport(charts, notice, asyncio.run)


def answer(charts: Charts, file: Path) -> None:
    (dialog,) = [d for d in charts.window().findChildren(QFileDialog) if d.isVisible()]
    dialog.fileSelected.emit(str(file))
    dialog.close()


def table(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))


def test_the_table_has_what_is_visible(qtbot, charts: Charts, tmp_path: Path):
    notice = Notice()
    qtbot.addWidget(notice)
    charts.set_range_s(60)
    qtbot.mouseClick(charts.memory.legend.entries()[1], Qt.MouseButton.LeftButton)
    export(charts, notice).ask_csv()
    answer(charts, tmp_path / "charts.csv")
    head, *rows = table((tmp_path / "charts.csv").read_text(encoding="utf-8"))
    assert head == ["time (UTC)", "0 RTX 4090 VRAM (GiB)", "0 RTX 4090 Utilization (%)"]
    assert len(rows) == 13
    assert rows[-1] == [datetime.fromtimestamp(NOW_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), "18", "50"]
    assert notice.text == f"The charts are saved as {tmp_path / 'charts.csv'}."


def test_the_table_follows_pan(qtbot, charts: Charts):
    drag(qtbot, charts, 0.0, 0.6)
    columns = charts.visible_columns()
    assert max(columns[0].times_s) <= NOW_S - 0.5 * 300
    assert set(columns[0].values.tolist()) == {6.0}


def test_devices_read_one_after_the_other_share_a_row_and_gaps_are_empty():
    first = Column("a (GiB)", np.array([NOW_S, NOW_S + 1, NOW_S + 2]), np.array([1.25, np.nan, 3], np.float32))
    second = Column("b (%)", np.array([NOW_S + 0.2, NOW_S + 2.2]), np.array([50, 70], np.float32))
    rows = table(csv_text([first, second]))
    assert [row[1:] for row in rows] == [["a (GiB)", "b (%)"], ["1.25", "50"], ["", ""], ["3", "70"]]
    assert rows[1][0] == datetime.fromtimestamp(NOW_S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_table_without_readings_has_its_head(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    assert csv_text(charts.visible_columns()) == "time (UTC)\n"


def test_the_picture_is_the_charts(qtbot, charts: Charts, tmp_path: Path):
    notice = Notice()
    qtbot.addWidget(notice)
    seen = charts.grab().toImage()
    export(charts, notice).ask_png()
    answer(charts, tmp_path / "charts.png")
    saved = QImage(str(tmp_path / "charts.png"))
    assert saved.convertToFormat(QImage.Format.Format_RGB32) == seen.convertToFormat(QImage.Format.Format_RGB32)


@pytest.mark.parametrize("ask", ["ask_csv", "ask_png"])
def test_a_file_that_cannot_be_written_is_told_in_a_sentence(qtbot, charts: Charts, tmp_path: Path, ask: str):
    failures = []

    def spawn(work) -> None:
        try:
            asyncio.run(work)
        except LaunchdeckError as error:
            failures.append(str(error))

    notice = Notice()
    qtbot.addWidget(notice)
    getattr(ChartExport(charts, notice, spawn), ask)()
    file = tmp_path / "missing" / "charts"
    answer(charts, file)
    problem = f"The charts could not be saved as {file}: No such file or directory."
    assert failures == [f"{problem} Name a file in a folder that can be written to."]
    assert notice.text == ""
