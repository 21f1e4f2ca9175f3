from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import samples
from launchdeck.domain.gpu import Promise
from launchdeck.domain.plan import Verdict
from launchdeck.ui.deploy.estimate_panel import EstimatePanel
from launchdeck.ui.deploy.verdict import chip, sentence
from qt.form_driver import texts

MARGIN = 256 * samples.MIB


def plan_of(*devices, largest=37, resolved=37, host_gib=0.3):
    """Devices are (needed GiB, free GiB)."""
    estimates = tuple(samples.device_estimate(f"CUDA{n}", *sizes) for n, sizes in enumerate(devices))
    plan = samples.plan(devices=estimates)
    host = samples.device_estimate("CPU", host_gib, 45.8)
    return replace(
        plan,
        gpus=samples.planned_gpus(*range(len(devices))),
        layers=replace(plan.layers, resolved=resolved, largest_that_fits=largest),
        estimate=replace(plan.estimate, host=host),
        margin_bytes=MARGIN,
    )


@pytest.mark.parametrize(
    ("devices", "verdict", "word"),
    [
        ([(7, 12)], Verdict.FITS, "✓ fits"),
        ([(11.75, 12)], Verdict.FITS, "✓ fits"),
        ([(11.9, 12)], Verdict.TIGHT, "! tight"),
        ([(13, 12)], Verdict.DOES_NOT_FIT, "✗ does not fit"),
        ([(13, None)], Verdict.UNKNOWN, "? unknown"),
        ([(7, 12), (11.9, 12)], Verdict.TIGHT, "! tight"),
        ([(13, 12), (7, None)], Verdict.DOES_NOT_FIT, "✗ does not fit"),
        ([(11.9, 12), (7, None)], Verdict.UNKNOWN, "? unknown"),
        ([], Verdict.FITS, "✓ fits"),
    ],
)
def test_the_device_that_is_worst_off_decides(devices, verdict, word):
    plan = plan_of(*devices)
    assert plan.verdict is verdict
    assert chip(plan.verdict)[0] == word


def test_the_form_says_what_of_the_free_memory_is_promised_and_to_whom(qtbot):
    panel = EstimatePanel(lambda _request: None)
    qtbot.addWidget(panel)
    panel.show()
    plan = plan_of((11.9, 0.7))
    promised = (Promise("coder", int(11.7 * samples.GIB)),)
    device = replace(plan.estimate.devices[0], promises=promised)
    panel.show_plan(replace(plan, estimate=replace(plan.estimate, devices=(device,))))
    assert "✗ <b>11.9</b> of 12.4 GiB free" in texts(panel)
    assert "of 12.4 free, 11.7 promised to coder" in texts(panel)
    panel.show_plan(plan)
    assert not any("promised" in text for text in texts(panel))


def test_ram_counts_too():
    plan = plan_of((7, 12), host_gib=60)
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert "60.0 GiB of RAM" in sentence(plan)


def test_it_says_how_much_is_missing_and_where():
    told = sentence(plan_of((13, 12), (11.9, 12), (1, 12), largest=30))
    assert told == "GPU 0 lacks 1.0 GiB. GPU 1 has 0.10 GiB left. 30 of 37 layers fit well."


def test_where_not_one_layer_fits_it_says_what_would_do():
    assert "Not one layer fits" in sentence(plan_of((13, 12), largest=0))


def test_the_panel_marks_the_devices_that_have_too_little(qtbot):
    panel = EstimatePanel(lambda request: None)
    qtbot.addWidget(panel)
    panel.show()
    panel.show_plan(plan_of((13, 12), (11.9, 12), (1, 12)))
    told = texts(panel)
    assert "✗ <b>13.0</b> of 12.0 GiB free" in told
    assert "! <b>11.9</b> of 12.0 GiB free" in told
    assert "<b>1.0</b> of 12.0 GiB free" in told
