from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel, QPushButton, QScrollArea

from fakes.samples import GIB, deployment, gpu, inventory, plan, planned_gpus, two_gpus
from launchdeck.domain.deployment import State
from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import GpuMask, GpuProcess, GpuReading, GpuSample, GpuState, GpuType, Inventory, Promise
from launchdeck.domain.plan import DeviceEstimate
from launchdeck.domain.text import Message
from launchdeck.monitor.alerts import Alert, AlertKind
from launchdeck.ui.gpus.detection_button import DetectionButton
from launchdeck.ui.gpus.detection_dialog import DetectionDialog
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.gpus.gpu_cores import GpuCores
from launchdeck.ui.gpus.memory_share import held_bytes, others_bytes
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.i18n import set_language
from launchdeck.ui.kit.model_colors import keep_model_colors, model_color


@pytest.fixture
def cards(qtbot) -> GpuCards:
    keep_model_colors(())
    made = GpuCards()
    qtbot.addWidget(made)
    made.resize(280, 700)
    return made


def with_sample(reading: GpuReading, **changes: object) -> GpuReading:
    return replace(reading, sample=replace(reading.sample, **changes))


def one_gpu(**changes: object) -> Inventory:
    return inventory(with_sample(gpu(0, "NVIDIA GeForce RTX 4090", GpuType.NVIDIA, 24, 11.4), **changes))


def test_a_card_for_every_gpu_and_the_cpu(cards: GpuCards):
    cards.show_inventory(two_gpus())
    assert [card.accessibleName() for card in cards.cards()] == ["0 RTX 4090", "1 RX 7900 XTX", "CPU"]
    assert str(cards.cards()[0].facts) == "11.4 / 24 GiB, 43 %, 61 °C, 212 W"
    assert str(cards.cards()[2].facts) == "18.2 / 64 GiB, 12 %"


def test_what_is_promised_stands_in_the_bar_of_a_gpu_by_the_models_name(cards: GpuCards):
    promised = (Promise("coder", 3 * GIB),)
    whole = inventory(replace(one_gpu().gpus[0], promises=promised))
    cards.show_inventory(replace(whole, cpu=replace(whole.cpu, promises=promised)))
    on_gpu, on_cpu = ([segment.label for segment in card.segments] for card in cards.cards())
    assert on_gpu == ["Other processes", "Promised to coder"]
    assert on_cpu == ["Other processes"], "a model's mapped pages stand there as its own already"


def test_cards_are_kept_from_sample_to_sample(cards: GpuCards):
    cards.show_inventory(one_gpu())
    before = cards.cards()
    cards.show_inventory(one_gpu(used_memory_bytes=20 * GIB, utilization_percent=99))
    assert cards.cards() == before
    assert str(before[0].facts) == "20.0 / 24 GiB, 99 %, 61 °C, 212 W"


def test_a_card_goes_with_its_gpu(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    kept = cards.cards()[1]
    cards.show_inventory(inventory(two_gpus().gpus[1]))
    assert [card.accessibleName() for card in cards.cards()] == ["1 RX 7900 XTX", "CPU"]
    assert cards.cards()[0] is kept


def test_a_gpu_that_a_mask_hides_is_shown_and_marked(cards: GpuCards):
    machine = two_gpus()
    hidden = replace(machine.gpus[0].gpu, ours=False, hidden_by=GpuMask("CUDA_VISIBLE_DEVICES=-1"))
    cards.show_inventory(replace(machine, gpus=(replace(machine.gpus[0], gpu=hidden), machine.gpus[1])))
    first, second, _cpu = cards.cards()
    assert "not ours" in [label.text() for label in first.findChildren(QLabel)]
    assert first.toolTip() == "It is hidden from Launchdeck by CUDA_VISIBLE_DEVICES=-1."
    assert first.toolTip() in first.accessibleDescription()
    assert str(first.facts) == "11.4 / 24 GiB, 43 %, 61 °C, 212 W"
    assert "not ours" not in [label.text() for label in second.findChildren(QLabel)]
    assert second.toolTip() == ""


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"utilization_percent": None}, "11.4 / 24 GiB, Not measurable, 61 °C, 212 W"),
        ({"utilization_percent": None, "power_watts": None}, "11.4 / 24 GiB, 61 °C, %, W: Not measurable"),
        ({"used_memory_bytes": None}, "Not measurable, 43 %, 61 °C, 212 W"),
        ({"utilization_percent": 0, "power_watts": 0.0}, "11.4 / 24 GiB, 0 %, 61 °C, 0 W"),
        ({"state": GpuState.ASLEEP}, "Asleep · 24 GiB"),
        ({"state": GpuState.LOST}, "▲ Lost · does not answer any more"),
        ({"state": GpuState.STALLED}, "▲ Stalled · its driver does not answer"),
    ],
)
def test_what_cannot_be_measured_is_said(cards: GpuCards, changes: dict[str, object], facts: str):
    cards.show_inventory(one_gpu(**changes))
    assert str(cards.cards()[0].facts) == facts


def test_not_measurable_in_korean(cards: GpuCards):
    set_language("ko")
    cards.show_inventory(one_gpu(utilization_percent=None))
    assert "측정 불가" in str(cards.cards()[0].facts)


def test_models_have_their_colours_and_the_rest_is_grey(cards: GpuCards):
    processes = (GpuProcess(1, "llama-server", 7 * GIB), GpuProcess(2, "vllm", 2 * GIB), GpuProcess(9, "blender", GIB))
    cards.show_inventory(one_gpu(processes=processes))
    cards.show_deployments((deployment("a", "qwen3-8b", pids=(1,)), deployment("b", "bge-m3", pids=(2,))))
    segments = cards.cards()[0].segments
    assert [segment.label for segment in segments] == ["qwen3-8b", "bge-m3", "Other processes"]
    assert [segment.color for segment in segments] == [model_color("a"), model_color("b"), theme.tokens().muted]
    assert [round(segment.size_bytes / GIB, 1) for segment in segments] == [7.0, 2.0, 2.4]


def test_ended_deployments_hold_nothing(cards: GpuCards):
    cards.show_inventory(one_gpu())
    cards.show_deployments((deployment("a", state=State.FAILED, vram_bytes=5 * GIB),))
    assert [segment.label for segment in cards.cards()[0].segments] == ["Other processes"]


def test_colours_follow_the_theme(qapp: QApplication, cards: GpuCards):
    cards.show_inventory(one_gpu())
    theme.apply(qapp, "light")
    assert cards.cards()[0].segments[-1].color == theme.LIGHT.muted


def test_memory_of_a_model_on_two_gpus_is_shared_out_as_estimated():
    devices = tuple(DeviceEstimate(name, size * GIB, 0, 0, 0, None) for name, size in (("CUDA0", 6), ("CUDA1", 2)))
    placed = deployment("a", plan=replace(plan(devices=devices), gpus=planned_gpus(1, 0)), vram_bytes=4 * GIB)
    first, second = two_gpus().gpus
    assert (held_bytes(second, placed), held_bytes(first, placed)) == (3 * GIB, GIB)


def test_others_hold_what_is_left_and_never_less_than_nothing():
    reading = one_gpu(used_memory_bytes=3 * GIB).gpus[0]
    assert others_bytes(reading, ()) == 3 * GIB
    assert others_bytes(reading, (deployment("a", vram_bytes=4 * GIB),)) == 0


def test_on_the_cpu_a_model_holds_its_resident_memory():
    assert held_bytes(inventory().cpu, deployment("a", rss_bytes=5 * GIB)) == 5 * GIB
    assert held_bytes(inventory().cpu, deployment("a")) == 0


def use_box(cards: GpuCards, place: int) -> QCheckBox:
    return cards.cards()[place].findChild(QCheckBox)


def tab_stops(cards: GpuCards) -> list[tuple[bool, bool]]:
    """Whether the tab key comes to each card, and to its check box."""
    return [
        (bool(card.focusPolicy() & Qt.FocusPolicy.TabFocus), bool(box.focusPolicy() & Qt.FocusPolicy.TabFocus))
        for card, box in ((card, card.findChild(QCheckBox)) for card in cards.cards())
    ]


def test_looking_at_a_card_uses_nothing(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    cards.show_used(frozenset({"GPU-0"}))
    cards.show()
    first, second, _cpu = cards.cards()
    with qtbot.assertNotEmitted(cards.use_clicked):
        qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
        for key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
            qtbot.keyClick(first, key)
        qtbot.keyClick(first, Qt.Key.Key_Space)
        qtbot.keyClick(second, Qt.Key.Key_Return)
    assert second.details is not None
    assert [card.used for card in cards.cards()] == [True, False, False]


def test_the_check_box_asks_to_use_the_device_and_opens_nothing(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    cards.show()
    assert [use_box(cards, n).accessibleName() for n in range(3)] == ["Use 0 RTX 4090", "Use 1 RX 7900 XTX", "Use CPU"]
    with qtbot.waitSignal(cards.use_clicked) as asked:
        use_box(cards, 1).click()
    assert asked.args == ["GPU-1", True]
    assert cards.cards()[1].details is None
    assert not use_box(cards, 1).isChecked(), "it is shown once it is so"
    cards.show_used(frozenset({"GPU-0", "GPU-1"}))
    assert [use_box(cards, n).isChecked() for n in range(3)] == [True, True, False]
    with qtbot.waitSignal(cards.use_clicked) as asked:
        qtbot.keyClick(use_box(cards, 1), Qt.Key.Key_Space)
    assert asked.args == ["GPU-1", False]


def test_what_cannot_be_used_can_only_be_given_up(cards: GpuCards):
    machine = two_gpus()
    lost = with_sample(machine.gpus[0], state=GpuState.LOST)
    cards.show_inventory(replace(machine, gpus=(lost, machine.gpus[1])))
    assert [use_box(cards, n).isEnabled() for n in range(3)] == [False, True, True]
    cards.show_used(frozenset({"GPU-0"}))
    assert use_box(cards, 0).isEnabled()


def test_a_device_that_is_used_is_so_on_its_new_card(cards: GpuCards):
    cards.show_used(frozenset({"GPU-1"}))
    cards.show_inventory(two_gpus())
    assert [card.used for card in cards.cards()] == [False, True, False]
    second = two_gpus().gpus[1]
    cards.show_inventory(inventory(replace(second, gpu=replace(second.gpu, index=0))))
    assert [card.used for card in cards.cards()] == [True, False]


def test_the_tab_key_stops_at_one_card_and_its_check_box(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    cards.show()
    none, both = (False, False), (True, True)
    assert tab_stops(cards) == [both, none, none]
    cards.show_used(frozenset({"GPU-1"}))
    assert tab_stops(cards) == [none, both, none]
    qtbot.keyClick(cards.cards()[1], Qt.Key.Key_Down)
    assert tab_stops(cards) == [none, none, both]


def test_it_can_be_seen_which_are_used(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    cards.show()
    before = cards.cards()[1].grab().toImage()
    cards.show_used(frozenset({"GPU-1"}))
    assert cards.cards()[1].grab().toImage() != before


def test_cards_tell_their_values_to_a_screen_reader(cards: GpuCards):
    cards.show_inventory(one_gpu(processes=(GpuProcess(1, "llama-server", 7 * GIB),)))
    cards.show_deployments((deployment("a", "qwen3-8b", pids=(1,)),))
    told = cards.cards()[0].accessibleDescription()
    assert told == "11.4 / 24 GiB, 43 %, 61 °C, 212 W. qwen3-8b  7.00 GiB, Other processes  4.40 GiB"


def test_a_narrow_column_takes_a_second_line(qtbot, cards: GpuCards):
    cards.show_inventory(one_gpu(utilization_percent=None))
    cards.show()
    wide = cards.cards()[0].heightForWidth(400)
    assert cards.cards()[0].heightForWidth(220) > wide


def test_eight_gpus_scroll(qtbot, cards: GpuCards):
    cards.resize(240, 480)
    cards.show_inventory(inventory(*(gpu(n, f"RTX {n}", GpuType.NVIDIA, 24, n) for n in range(8))))
    cards.show()
    last = cards.cards()[-1]
    assert last.visibleRegion().isEmpty()
    cards.cards()[0].setFocus()
    for card in cards.cards()[:-1]:
        qtbot.keyClick(card, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: not last.visibleRegion().isEmpty())


def footer(cards: GpuCards) -> str:
    return next(label.text() for label in cards.findChildren(QLabel) if "etected by" in label.text())


def test_the_footer_names_the_detector(cards: GpuCards):
    cards.show_inventory(replace(two_gpus(), detector="AMDSMIDetector+NVMLDetector"))
    assert footer(cards) == "Detected by AMDSMIDetector + NVMLDetector, every 5 s"
    cards.set_interval_s(1.5)
    assert footer(cards) == "Detected by AMDSMIDetector + NVMLDetector, every 1.5 s"


def test_a_recorded_inventory_is_called_so(cards: GpuCards):
    cards.show_inventory(replace(two_gpus(), replayed=True))
    assert footer(cards) == "REPLAY: a recorded inventory, detected by NVMLDetector"


def test_unknown_size_and_use(cards: GpuCards):
    unknown = replace(gpu(0, "GB10", GpuType.NVIDIA, 1, 1).gpu, total_memory_bytes=None)
    cards.show_inventory(inventory(GpuReading(unknown, GpuSample(1000.0))))
    assert str(cards.cards()[0].facts) == "Not measurable, %, °C, W: Not measurable"


def details(cards: GpuCards, place: int = 0) -> dict[str, str]:
    shown = cards.cards()[place].details
    return {} if shown is None else dict(shown.rows)


FULL = {
    "power_limit_watts": 450.0,
    "graphics_clock_mhz": 2520,
    "memory_clock_mhz": 10_501,
    "fan_percent": 38,
    "processes": (
        GpuProcess(1, "llama-server", int(7.1 * GIB)),
        GpuProcess(9, "blender", GIB),
        GpuProcess(8, "", 2 * GIB),
        GpuProcess(7, "Xorg", None),
    ),
}


def test_a_click_opens_all_values_and_another_closes_them(qtbot, cards: GpuCards):
    reading = one_gpu(**FULL).gpus[0]
    cards.show_inventory(inventory(replace(reading, gpu=replace(reading.gpu, driver_version="580.95.05"))))
    cards.show_deployments((deployment("a", "qwen3-8b", pids=(1,)),))
    assert details(cards) == {}
    qtbot.mouseClick(cards.cards()[0], Qt.MouseButton.LeftButton)
    assert details(cards) == {
        "Memory used": "11.4 GiB", "Memory free": "12.6 GiB", "Memory in all": "24.0 GiB", "Utilization": "43 %",
        "Temperature": "61 °C", "Power": "212 W", "Power limit": "450 W", "Graphics clock": "2,520 MHz",
        "Memory clock": "10,501 MHz", "Fan": "38 %", "Driver": "580.95.05", "PCI address": "0000:01:00.0",
        "UUID": "GPU-0", "qwen3-8b": "7.1 GiB", "PID 8": "2.0 GiB", "blender (9)": "1.0 GiB",
        "Xorg (7)": "Not measurable",
    }  # fmt: skip
    qtbot.mouseClick(cards.cards()[0], Qt.MouseButton.LeftButton)
    assert details(cards) == {}


def test_the_cpu_tells_the_load_of_each_core(qtbot, cards: GpuCards):
    both = two_gpus()
    loaded = with_sample(both.cpu, core_percents=(5, 99, 40))
    cards.show_inventory(replace(both, cpu=loaded))
    cards.cards()[-1].set_open(True)
    cores = cards.cards()[-1].findChild(GpuCores)
    assert (cores.isHidden(), cores.percents) == (False, (5, 99, 40))
    assert cores.accessibleDescription() == "3 cores, the busiest 99 %"
    cards.cards()[0].set_open(True)
    assert cards.cards()[0].findChild(GpuCores).isHidden()


@pytest.mark.parametrize("count", [1, 8, 64, 256])
def test_every_core_has_a_bar_that_can_be_seen(qtbot, count: int):
    cores = GpuCores()
    qtbot.addWidget(cores)
    cores.show_percents([100] * count)
    cores.resize(250, cores.heightForWidth(250))
    image = cores.grab().toImage()
    accent = QColor(theme.tokens().accent).rgb()
    filled = sum(image.pixel(x, y) == accent for y in range(image.height()) for x in range(image.width()))
    assert filled >= count * 26


def test_details_follow_the_readings(qtbot, cards: GpuCards):
    cards.show_inventory(one_gpu(**FULL))
    qtbot.mouseClick(cards.cards()[0], Qt.MouseButton.LeftButton)
    cards.show_inventory(one_gpu(utilization_percent=None, processes=()))
    assert (details(cards)["Utilization"], details(cards)["Fan"]) == ("Not measurable", "Not measurable")
    assert details(cards)["Other processes"] == "11.4 GiB"
    assert "blender (9)" not in details(cards)


def test_many_processes_are_summed_up(qtbot, cards: GpuCards):
    cards.show_inventory(one_gpu(processes=tuple(GpuProcess(n, "worker", n * GIB) for n in range(1, 13))))
    qtbot.mouseClick(cards.cards()[0], Qt.MouseButton.LeftButton)
    shown = details(cards)
    assert list(shown)[-2:] == ["worker (5)", "4 more"]
    assert shown["4 more"] == "10.0 GiB"


def test_one_card_is_open_at_a_time_and_the_keyboard_opens_it(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    cards.show()
    first, second, cpu = cards.cards()
    qtbot.keyClick(first, Qt.Key.Key_Space)
    qtbot.keyClick(first, Qt.Key.Key_Down)
    assert (first.details is None, second.details is None) == (False, True)
    qtbot.keyClick(second, Qt.Key.Key_Return)
    assert (first.details is None, second.details is None) == (True, False)
    qtbot.keyClick(cpu, Qt.Key.Key_Space)
    assert list(dict(cpu.details.rows)) == [
        "Memory used", "Memory free", "Memory in all", "Utilization", "Other processes"
    ]  # fmt: skip


def test_a_long_uuid_does_not_widen_the_column(qtbot, cards: GpuCards):
    reading = one_gpu(**FULL).gpus[0]
    cards.show_inventory(inventory(replace(reading, gpu=replace(reading.gpu, uuid="GPU-" + "0123456789" * 6))))
    cards.show()
    card = cards.cards()[0]
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: card.height() > 300)
    assert card.width() <= cards.width()


def test_no_more_is_scrolled_than_there_is(qtbot, cards: GpuCards):
    cards.resize(280, 300)
    cards.show_inventory(two_gpus())
    cards.show()
    qtbot.mouseClick(cards.cards()[0], Qt.MouseButton.LeftButton)
    area = cards.findChild(QScrollArea)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
    gap_px = 12
    qtbot.waitUntil(lambda: area.widget().height() - cards.cards()[-1].geometry().bottom() - 1 <= gap_px)


def test_alerts_mark_their_card_in_words(cards: GpuCards):
    cards.show_inventory(two_gpus())
    first = two_gpus().gpus[0].gpu
    calm = cards.cards()[0].grab().toImage()
    cards.show_alerts((Alert(first, AlertKind.VRAM, 97, 95), Alert(first, AlertKind.TEMPERATURE, 91, 90)))
    assert "Memory is more than 95 % full" in cards.cards()[0].accessibleDescription()
    assert "Hotter than 90 °C" in cards.cards()[0].accessibleDescription()
    assert "▲" not in cards.cards()[1].accessibleDescription()
    assert cards.cards()[0].grab().toImage() != calm
    cards.show_alerts(())
    assert "▲" not in cards.cards()[0].accessibleDescription()


def test_the_footer_leads_to_how_the_devices_were_found(qtbot, cards: GpuCards):
    cards.show_inventory(two_gpus())
    with qtbot.waitSignal(cards.detection_requested):
        qtbot.mouseClick(cards.findChild(DetectionButton), Qt.MouseButton.LeftButton)


STEPS = (
    Step("AMDSMIDetector", Outcome.FAILED, Message("AMD's library does not answer: {error}.", error="34")),
    Step("NVMLDetector", Outcome.FOUND, version="580.95.05"),
    Step("TorchCudaDetector", Outcome.SKIPPED, Message("Another source has answered.")),
    Step("CPUDetector", Outcome.FOUND),
)


def test_every_step_of_the_chain_is_told(qtbot):
    dialog = DetectionDialog(replace(two_gpus(), steps=STEPS))
    qtbot.addWidget(dialog)
    assert dialog.lines == (
        "AMD's library (amdsmi): ▲ Failed · AMD's library does not answer: 34.",
        "NVIDIA's library (NVML): ✓ Found · Driver 580.95.05",
        "PyTorch for CUDA: – Not asked · Another source has answered.",
        "The CPU, which is always there: ✓ Found",
    )
    dialog.show_inventory(replace(two_gpus(), steps=STEPS[1:]))
    assert len(dialog.lines) == 3
    with qtbot.waitSignal(dialog.refresh_requested):
        qtbot.mouseClick(
            next(b for b in dialog.findChildren(QPushButton) if b.text() == "Look again"), Qt.MouseButton.LeftButton
        )
