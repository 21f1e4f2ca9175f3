"""The engines view: what is told of each, and the test with one click."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel, QProgressBar, QPushButton

from fakes import samples
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.getting.getting import Step
from launchdeck.engines.getting.offers import Offer, OfferKind
from launchdeck.models.describe import inspect
from launchdeck.network.download import Progress
from launchdeck.network.remote_file import NamedFile, RemoteFile
from launchdeck.serving.trial import Trial
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.ui.engines.engine_getting import EngineGetting
from launchdeck.ui.engines.engine_offers import OfferRow
from launchdeck.ui.engines.engines_dialog import EngineCard, EnginesDialog, engine_facts
from qt.form_driver import ENGINE

VLLM = EngineInfo(EngineKind.VLLM, ("/venv/bin/vllm",), Path("/venv/bin/vllm"), "0.33.0", frozenset())


OFFER = Offer(
    "llama.cpp-b1-vulkan",
    OfferKind.ARCHIVE,
    "llama-server b1 · Vulkan",
    Message("Needs nothing but the driver, and can use GPUs of two vendors together"),
    1 << 30,
    (NamedFile("a.tar.gz", RemoteFile("http://x/a", 1 << 30, "0" * 64)),),
)


async def never(*_):
    raise AssertionError("nothing was clicked")


@pytest.fixture
def getting(qapp):
    return EngineGetting(Setup.of(Paths.resolve()), tuple)


@pytest.fixture
def dialog(qtbot, getting):
    dialog = EnginesDialog(never, never, getting, Paths.resolve())
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
    assert {"Runs on: CPU", "Build 10605", "Supports 2 options"} <= {*facts}
    assert any("NVIDIA" in line for line in engine_facts(ENGINE, is_first=False))
    assert "Supports 2 architectures" in engine_facts(replace(VLLM, architectures=frozenset("ab")), is_first=True)
    assert "Can use RPC workers" in engine_facts(replace(ENGINE, supports_rpc=True), is_first=True)


def test_only_one_of_each_kind_is_marked_as_the_first(dialog):
    assert texts(dialog).count("★ First choice for GGUF") == 1


def test_vllm_is_tested_with_a_model_that_is_made_for_it(qtbot, getting):
    tried = []

    async def answer(engine_id, model):
        tried.append((engine_id, inspect(model).problem, inspect(model).architecture))
        return Trial("xyz", 61.0, ("GPU 0",))

    loop = asyncio.new_event_loop()
    card = EngineCard(VLLM, answer, never, Paths.resolve(), is_first=True)
    qtbot.addWidget(card)

    async def run():
        card.test()
        while "✓" not in card.result:
            await asyncio.sleep(0.01)

    loop.run_until_complete(asyncio.wait_for(run(), 30))
    loop.close()
    assert tried == [("vllm:/venv/bin/vllm", None, "LlamaForCausalLM")]
    assert card.result == "✓ Ready after 1 min 1 s on GPU 0, and answers, with a model of random numbers: xyz"


def test_engines_that_are_found_later_replace_the_list(qtbot, dialog):
    dialog.set_engines((samples.EMBEDDED,))
    qtbot.waitUntil(lambda: len([c for c in dialog.findChildren(EngineCard) if c.isVisible()]) == 1)


def row_of(dialog):
    (row,) = dialog.findChildren(OfferRow)
    return row


def test_nothing_is_offered_before_it_is_looked_for(dialog, getting):
    assert not dialog.findChildren(OfferRow)
    getting.offers = ()
    getting.changed.emit()
    assert "Nothing is published that fits this machine." in texts(dialog)


def test_an_offer_tells_its_reason_its_size_and_how_far_it_is(dialog, getting):
    getting.offers = (OFFER,)
    getting.changed.emit()
    row = row_of(dialog)
    told = texts(dialog)
    assert "llama-server b1 · Vulkan" in told
    assert "two vendors together · 1.00 GiB to download" in told
    assert (row.button.text(), row.bar.isHidden()) == ("Get", True)
    getting.current = OFFER
    getting.step = Step(Message("Downloading"), Progress(1 << 29, 1 << 30, 10 * 1024 * 1024))
    getting.changed.emit()
    assert row.note.text() == "Downloading · 0.50 / 1.00 GiB · 10.0 MiB/s · 51 s left"
    assert (row.button.text(), row.bar.value(), row.bar.maximum()) == ("Cancel", 500, 1000)
    getting.step = Step(Message("Unpacking"))
    getting.changed.emit()
    assert (row.note.text(), row.bar.maximum()) == ("Unpacking", 0)
    getting.current, getting.problem, getting.problem_of = None, "No room.", OFFER
    getting.changed.emit()
    assert (row.note.text(), row.button.text(), row.bar.isHidden()) == ("▲ No room.", "Get", True)


def test_one_at_a_time(dialog, getting):
    other = replace(OFFER, id="other", title="other")
    getting.offers, getting.current = (OFFER, other), other
    getting.changed.emit()
    enabled = {row.offer.id: row.button.isEnabled() for row in dialog.findChildren(OfferRow)}
    assert enabled == {OFFER.id: False, "other": True}
    assert not next(b for b in dialog.findChildren(QPushButton) if b.text().startswith("Look for")).isEnabled()


def test_what_is_begun_goes_on(dialog, getting):
    part = Paths.resolve().data / "engines" / "downloads" / f"a.tar.gz.{'0' * 16}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    getting.offers = (OFFER,)
    getting.changed.emit()
    assert row_of(dialog).button.text() == "Go on"
    assert row_of(dialog).findChild(QProgressBar).accessibleName() == "Progress of llama-server b1 · Vulkan"


def test_only_an_engine_that_was_got_here_can_be_removed(qtbot, dialog):
    ours = Paths.resolve().data / "engines" / "llama.cpp-b1-vulkan" / "llama-server"
    dialog.set_engines((replace(ENGINE, path=ours), ENGINE, samples.EMBEDDED))

    def shown():
        return [card for card in dialog.findChildren(EngineCard) if card.isVisible()]

    qtbot.waitUntil(lambda: [card.folder for card in shown()] == [ours.parent, None, None])
    cards = shown()
    removers = [b.text() for card in cards for b in card.findChildren(QPushButton) if b.text() == "Remove"]
    assert removers == ["Remove"]


def test_what_is_there_is_not_got_again(dialog, getting):
    folder = Paths.resolve().data / "engines" / OFFER.id
    folder.mkdir(parents=True)
    (folder / "engine.json").write_text('{"kind": "archive", "title": "x", "program": "llama-server"}')
    getting.offers = (OFFER,)
    getting.changed.emit()
    assert (row_of(dialog).button.text(), row_of(dialog).button.isEnabled()) == ("Is there", False)
