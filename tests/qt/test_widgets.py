from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtWidgets import QApplication

from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.ui.charts.time_axis import axis_top, time_marks, value_marks
from launchdeck.ui.deploy.layer_slider import LayerSlider
from launchdeck.ui.kit import format as number
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.elided_label import ElidedLabel
from launchdeck.ui.kit.icons import app_icon, icon
from launchdeck.ui.kit.names import place_and_name, short_name
from launchdeck.ui.kit.segmented import Segmented
from launchdeck.ui.kit.stacked_bar import Segment, StackedBar
from launchdeck.ui.kit.wrapping_label import WrappingLabel

GIB = 2**30


@pytest.fixture
def slider(qtbot) -> LayerSlider:
    made = LayerSlider()
    qtbot.addWidget(made)
    made.set_layer_count(41)
    made.resize(220, made.sizeHint().height())
    made.show()
    return made


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Qt.Key.Key_Home, 0),
        (Qt.Key.Key_End, 41),
        (Qt.Key.Key_Right, 21),
        (Qt.Key.Key_Left, 19),
        (Qt.Key.Key_PageUp, 25),
        (Qt.Key.Key_PageDown, 15),
    ],
)
def test_slider_moves_by_keys_and_tells(qtbot, slider: LayerSlider, key: Qt.Key, expected: int):
    slider.setValue(20)
    with qtbot.waitSignal(slider.chosen) as chosen:
        qtbot.keyClick(slider, key)
    assert chosen.args == [expected]
    assert slider.value() == expected


def test_slider_is_silent_about_values_set_by_the_program(qtbot, slider: LayerSlider):
    with qtbot.assertNotEmitted(slider.chosen):
        slider.setValue(12)


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (110, 20), (219, 41)])
def test_slider_jumps_to_the_click(qtbot, slider: LayerSlider, x: int, expected: int):
    slider.setValue(7)
    qtbot.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(x, 10))
    assert slider.value() == expected


def wheel_down(slider: LayerSlider) -> None:
    event = QWheelEvent(
        QPointF(20, 10), QPointF(20, 10), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(slider, event)


def test_wheel_over_an_unfocused_slider_changes_nothing(slider: LayerSlider):
    slider.setValue(20)
    slider.clearFocus()
    wheel_down(slider)
    assert slider.value() == 20


def test_wheel_moves_the_focused_slider(qtbot, slider: LayerSlider):
    slider.setValue(20)
    slider.activateWindow()
    slider.setFocus()
    qtbot.waitUntil(slider.hasFocus)
    wheel_down(slider)
    assert slider.value() < 20


def test_slider_says_when_the_number_is_automatic(slider: LayerSlider):
    slider.setValue(41)
    slider.set_auto(True)
    assert slider.caption() == ("41", " / 41 · auto")
    slider.set_auto(False)
    assert slider.caption() == ("41", " / 41")


def test_slider_without_a_model_cannot_be_used(slider: LayerSlider):
    slider.set_layer_count(0)
    assert not slider.isEnabled()


def test_segmented_tells_choices_of_the_user_only(qtbot):
    choice = Segmented([("llm", "LLM"), ("embedding", "Embedding")], "Serve as")
    qtbot.addWidget(choice)
    with qtbot.assertNotEmitted(choice.changed):
        choice.set_value("embedding")
    assert choice.value() == "embedding"
    llm = choice.findChildren(type(choice._buttons.button(0)))[0]
    with qtbot.waitSignal(choice.changed) as changed:
        qtbot.mouseClick(llm, Qt.MouseButton.LeftButton)
    assert changed.args == ["llm"]
    assert llm.accessibleName() == "Serve as: LLM"


def test_segmented_moves_by_arrow_keys(qtbot):
    choice = Segmented([(60, "1 min"), (300, "5 min")], "Range")
    qtbot.addWidget(choice)
    choice.show()
    choice.activateWindow()
    first = choice._buttons.button(0)
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    with qtbot.waitSignal(choice.changed) as changed:
        qtbot.keyClick(first, Qt.Key.Key_Right)
    assert changed.args == [300]


def test_the_tab_key_goes_to_the_chosen_option(qtbot):
    choice = Segmented([(60, "1 min"), (300, "5 min")], "Range")
    qtbot.addWidget(choice)
    stops = lambda: [bool(choice._buttons.button(n).focusPolicy() & Qt.FocusPolicy.TabFocus) for n in (0, 1)]  # noqa: E731
    assert stops() == [True, False]
    choice.set_value(300)
    assert stops() == [False, True]


def test_segmented_tells_why_an_option_is_off(qtbot):
    choice = Segmented([("llm", "LLM"), ("embedding", "Embedding")], "Serve as")
    qtbot.addWidget(choice)
    choice.set_option_enabled("embedding", enabled=False, reason="not an embedding model")
    button = choice._buttons.button(1)
    assert (button.isEnabled(), button.toolTip()) == (False, "not an embedding model")


def bar(qtbot, segments: list[Segment], total_bytes: int) -> StackedBar:
    made = StackedBar(10)
    qtbot.addWidget(made)
    made.resize(100, 10)
    made.show_segments(segments, total_bytes)
    return made


def color_at(widget: StackedBar, x: int) -> str:
    return widget.grab().toImage().pixelColor(x, 5).name()


def test_bar_shows_segments_in_proportion(qtbot):
    made = bar(qtbot, [Segment("a", 3 * GIB, "#ff0000"), Segment("b", GIB, "#00ff00")], 8 * GIB)
    assert [color_at(made, x) for x in (20, 44, 80)] == ["#ff0000", "#00ff00", theme.tokens().track]


def test_bar_draws_what_exceeds_the_total_behind_a_line(qtbot):
    made = bar(qtbot, [Segment("a", 8 * GIB, "#ff0000")], 4 * GIB)
    assert [color_at(made, x) for x in (25, 75)] == ["#ff0000", "#ff0000"]
    assert color_at(made, 50) == theme.tokens().text


def test_bar_names_its_segments(qtbot):
    made = bar(qtbot, [Segment("weights", 3 * GIB, "#ff0000"), Segment("nothing", 0, "#00ff00")], 8 * GIB)
    assert made.toolTip() == made.accessibleDescription() == "weights  3.00 GiB"


def test_an_empty_memory_is_an_empty_bar(qtbot):
    made = bar(qtbot, [], 0)
    assert color_at(made, 50) == theme.tokens().track


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number.gib(int(11.44 * GIB)), "11.4"),
        (number.gib_with_unit(int(8.1 * GIB), 2), "8.10 GiB"),
        (number.gib_capacity(int(23.988 * GIB)), "24"),
        (number.gib_capacity(int(79.6 * GIB)), "79.6"),
        (number.percent(43), "43 %"),
        (number.celsius(61), "61 °C"),
        (number.watts(211.6), "212 W"),
        (number.count(131072), "131,072"),
        (number.gib(None), "Not measurable"),
        (number.percent(0), "0 %"),
        (number.duration(42.4), "42 s"),
        (number.duration(3599.6), "1 h 0 min"),
        (number.duration(183), "3 min 3 s"),
        (number.duration(187200), "2 d 4 h"),
    ],
)
def test_numbers_read_well(text: str, expected: str):
    assert text == expected


@pytest.mark.parametrize(
    ("name", "gpu_type", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", GpuType.NVIDIA, "RTX 4090"),
        ("NVIDIA A100-SXM4-80GB", GpuType.NVIDIA, "A100-SXM4-80GB"),
        ("AMD Radeon RX 7900 XTX", GpuType.AMD, "RX 7900 XTX"),
        ("AMD Radeon Graphics", GpuType.AMD, "Radeon Graphics"),
        ("AMD Ryzen 9 7950X 16-Core Processor", GpuType.CPU, "Ryzen 9 7950X"),
        ("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz", GpuType.CPU, "Core i7-8700K"),
        ("NVIDIA", GpuType.NVIDIA, "NVIDIA"),
    ],
)
def test_names_are_shortened(name: str, gpu_type: GpuType, expected: str):
    device = Gpu(3, "id", None, name, gpu_type, None)
    assert short_name(device) == expected
    assert place_and_name(device) == ("CPU" if gpu_type is GpuType.CPU else f"3 {expected}")


def test_label_that_does_not_fit_tells_all_in_its_tooltip(qtbot):
    label = ElidedLabel("A name that is far too long for its place")
    qtbot.addWidget(label)
    label.resize(60, 20)
    label.show()
    assert label.toolTip() == label.text()
    label.resize(600, 20)
    assert label.toolTip() == ""


@pytest.mark.parametrize(
    ("range_s", "texts"),
    [
        (60, ["−60 s", "−45", "−30", "−15", "now"]),
        (300, ["−5 min", "−4", "−3", "−2", "−1", "now"]),
        (3600, ["−60 min", "−45", "−30", "−15", "now"]),
        (21600, ["−6 h", "−5", "−4", "−3", "−2", "−1", "now"]),
        (86400, ["−24 h", "−20", "−16", "−12", "−8", "−4", "now"]),
    ],
)
def test_time_axis_counts_back_from_now(range_s: float, texts: list[str]):
    marks = time_marks(range_s)
    assert [mark.text for mark in marks] == texts
    steps = [after.place - before.place for before, after in pairwise(marks)]
    assert steps == pytest.approx([1 / (len(texts) - 1)] * len(steps))


@pytest.mark.parametrize(("largest", "top"), [(23.99, 24), (24.1, 26), (0.5, 2), (0, 2), (79.6, 80), (191.98, 192)])
def test_value_axis_ends_at_a_round_number(largest: float, top: float):
    assert axis_top(largest) == top
    assert [mark.text for mark in value_marks(top)] == ["0", f"{top / 2:g}", f"{top:g}"]


@pytest.mark.parametrize("name", ["pause", "play", "settings"])
def test_icons_are_drawn_in_the_given_colour(qapp, name: str):
    image = icon(name, "#ff0000").pixmap(32, 32).toImage()
    pixels = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
    assert {pixel.name() for pixel in pixels if pixel.alpha() == 255} == {"#ff0000"}


def test_application_icon_can_be_drawn(qapp):
    image = app_icon().pixmap(64, 64).toImage()
    assert image.pixelColor(image.width() // 2, image.height() // 3) == QColor("#e8eaee")


@pytest.mark.parametrize("word", ["CUDA_VISIBLE_DEVICES=GPU-" + "0123456789abcdef" * 4, "x" * 120, "/a/long/path" * 20])
def test_a_long_word_asks_for_no_more_width_than_the_column_has(qtbot, word):
    label = WrappingLabel("small")
    qtbot.addWidget(label)
    label.setText(f"GPUs are hidden by {word}: the model will run on the CPU.")
    assert label.minimumSizeHint().width() < 250
    assert label.text().replace("\u200b", "") == f"GPUs are hidden by {word}: the model will run on the CPU."
    label.setText("No engine was found.")
    assert label.text() == "No engine was found."
