"""The engines view: what is told of each, and the test with one click."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel, QPushButton

from fakes import samples
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.ui.engines_dialog import EngineCard, EnginesDialog, engine_facts
from qt.form_driver import ENGINE

VLLM = EngineInfo(EngineKind.VLLM, ("/venv/bin/vllm",), Path("/venv/bin/vllm"), "0.33.0", frozenset())


async def never(engine_id, model):
    raise AssertionError("nothing was clicked")


@pytest.fixture
def dialog(qtbot):
    dialog = EnginesDialog(never)
    qtbot.addWidget(dialog)
    dialog.set_engines((ENGINE, samples.EMBEDDED, VLLM))
    dialog.show()
    return dialog


def texts(dialog):
    return "\n".join(label.text() for label in dialog.findChildren(QLabel))


def test_every_engine_is_told_with_what_it_can(dialog):
    told = texts(dialog)
    assert str(ENGINE.path) in told
    assert "built-in 2026.10" in told
    assert "Comes with Launchdeck" in told
    assert "vLLM 0.33.0" in told


def test_the_first_of_each_kind_comes_first():
    assert "★ First choice for GGUF" in engine_facts(ENGINE, is_first=True)
    assert "★ First choice for safetensors" in engine_facts(VLLM, is_first=True)
    assert not any("★" in line for line in engine_facts(samples.EMBEDDED, is_first=False))


def test_facts_name_backends_build_and_options():
    engine = replace(samples.EMBEDDED, build=10605, flags=frozenset({"--host", "--port"}))
    facts = engine_facts(engine, is_first=False)
    assert {"Computes on: CPU", "Build 10605", "Knows 2 options"} <= {*facts}
    assert any("NVIDIA" in line for line in engine_facts(ENGINE, is_first=False))


def test_only_one_of_each_kind_is_marked_as_the_first(dialog):
    assert texts(dialog).count("★ First choice for GGUF") == 1


def test_the_demo_model_is_nothing_for_vllm_and_that_is_said(dialog):
    (button,) = [b for b in dialog.findChildren(QPushButton) if b.accessibleName() == "Test vLLM 0.33.0"]
    assert not button.isEnabled()
    assert "GGUF" in button.toolTip()


def test_engines_that_are_found_later_replace_the_list(qtbot, dialog):
    dialog.set_engines((samples.EMBEDDED,))
    qtbot.waitUntil(lambda: len([c for c in dialog.findChildren(EngineCard) if c.isVisible()]) == 1)
