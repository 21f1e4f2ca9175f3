from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
import qasync
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextFormat
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QTableWidget

from fakes import samples
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import ServerType
from launchdeck.domain.text import Message
from launchdeck.serving.client import ChatChunk, ToolCallPiece
from launchdeck.ui.deployments.try_embed import cosine
from launchdeck.ui.deployments.try_it import TryItTab
from launchdeck.ui.kit import i18n, theme
from launchdeck.ui.kit.asking import Asking

DEADLINE_S = 10


@dataclass
class Vectors:
    vectors: tuple
    dimensions: int
    elapsed_s: float


class Model:
    """The far end of the two functions that the tab is given: answers as told, and keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.chunks = [ChatChunk("Hello"), ChatChunk(" there", 2, 96.5)]
        self.error = None
        self.hang = False
        self.is_hanging = False
        self.was_cancelled = False

    async def chat(self, deployment, messages):
        self.asked.append((deployment.id, messages))
        for chunk in self.chunks:
            await asyncio.sleep(0)
            yield chunk
        if self.error:
            raise self.error
        if self.hang:
            self.is_hanging = True
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise

    async def embed(self, deployment, texts):
        self.asked.append((deployment.id, texts))
        if self.error:
            raise self.error
        return Vectors(tuple((1.0, float(place)) for place, _ in enumerate(texts)), 2, 0.012)


@pytest.fixture(autouse=True)
def english():
    i18n.set_language("en")


@pytest.fixture
def loop(qapp):
    loop = qasync.QEventLoop(qapp)
    with loop:
        yield loop


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def tab(qtbot, model):
    tab = TryItTab(model.chat, model.embed)
    qtbot.addWidget(tab)
    tab.resize(600, 400)
    tab.show()
    return tab


LLM = samples.deployment("a", "qwen3-8b")


def embedding_deployment(key="e"):
    plan = samples.plan("minilm")
    request = replace(plan.request, server_type=ServerType.EMBEDDING)
    return replace(samples.deployment(key, "minilm"), plan=replace(plan, request=request))


def field(tab, name):
    found = [w for w in tab.findChildren(QPlainTextEdit) if w.accessibleName() == name]
    return next((w for w in found if w.isVisible()), found[0])


def labels(tab):
    return [label.text() for label in tab.findChildren(QLabel) if label.isVisible() and label.text()]


def button(tab, text):
    return next(b for b in tab.findChildren(QPushButton) if b.isVisible() and b.text() == text)


def run(loop, scenario):
    return loop.run_until_complete(asyncio.wait_for(scenario, DEADLINE_S))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def ask(qtbot, tab, text):
    field(tab, "Prompt").setPlainText(text)
    qtbot.mouseClick(button(tab, "Send"), Qt.MouseButton.LeftButton)


def test_the_answer_streams_and_its_speed_is_told(qtbot, loop, tab, model):
    tab.show_deployment(LLM)
    told = []
    tab.speed_measured.connect(lambda key, speed: told.append((key, speed)))

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: told)
        await until(lambda: not button(tab, "Stop").isEnabled())

    run(loop, scenario())
    assert field(tab, "Conversation").toPlainText() == "You\nHi\n\nqwen3-8b\nHello there"
    assert told == [("a", 96.5)]
    assert any("2 tokens" in text and "96.5 tok/s" in text for text in labels(tab))


def thought(text):
    return ChatChunk("", thought=text)


def answer_of(qtbot, loop, tab, model, *chunks):
    """The conversation after a question, without who asks and who answers, and the line below it."""
    model.chunks = chunks
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: not button(tab, "Stop").isEnabled())

    run(loop, scenario())
    shown = field(tab, "Conversation").toPlainText().removeprefix("You\nHi\n\nqwen3-8b\n")
    return shown, next(text for text in labels(tab) if text.endswith(" s") or " s  ·" in text)


def colours(tab):
    """The colours of the conversation's pieces, by their text; None is the usual one."""
    block, found = field(tab, "Conversation").document().begin(), {}
    while block.isValid():
        for part in block:
            piece = part.fragment()
            muted = piece.charFormat().hasProperty(QTextFormat.Property.ForegroundBrush)
            found[piece.text()] = piece.charFormat().foreground().color().name() if muted else None
        block = block.next()
    return found


def test_what_a_model_thinks_stands_apart_from_what_it_answers(qtbot, qapp, loop, tab, model):
    chunks = (
        ChatChunk(""),
        thought("They "),
        thought("greet.\n\n"),
        ChatChunk("\n\n"),
        ChatChunk("Hello"),
        ChatChunk("!"),
    )
    shown, status = answer_of(qtbot, loop, tab, model, *chunks, ChatChunk("", 6, 50.0, finish_reason="stop"))
    assert shown == "Thoughts: They greet.\n\n\nHello!"
    assert status.endswith("50.0 tok/s")
    for name, tokens in (("dark", theme.DARK), ("light", theme.LIGHT)):
        theme.apply(qapp, name)
        assert colours(tab)["Thoughts: They greet."] == tokens.muted
        assert colours(tab)["Hello!"] is None


def test_only_the_answer_is_told_to_the_model_again(qtbot, loop, tab, model):
    answer_of(qtbot, loop, tab, model, thought("Hm."), ChatChunk("Hello"))

    async def again():
        ask(qtbot, tab, "And?")
        await until(lambda: len(model.asked) == 2)

    run(loop, again())
    assert [message["content"] for message in model.asked[1][1]] == ["Hi", "Hello", "And?"]


@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ((ChatChunk("Hel"), ChatChunk("", finish_reason="length")), "limit reached"),
        ((thought("Hm"), ChatChunk("", finish_reason="length")), "limit reached before it had answered"),
        ((thought("Hm"), ChatChunk("", finish_reason="stop")), "it has only thought, and not answered"),
        ((ChatChunk(" "), ChatChunk("", finish_reason="stop")), "it has ended without a word"),
    ],
)
def test_why_an_answer_is_short_or_empty_is_told(qtbot, loop, tab, model, chunks, told):
    assert answer_of(qtbot, loop, tab, model, *chunks)[1].split("  ·  ")[-1] == told


def test_tools_that_a_model_wants_are_shown_as_such(qtbot, loop, tab, model):
    calls = [ToolCallPiece("weather", ""), ToolCallPiece("", '{"city":'), ToolCallPiece("", '"Rome"}')]
    more = ToolCallPiece("time", "{}")
    chunks = [ChatChunk("", tool_calls=(call,)) for call in (*calls, more)]
    shown, status = answer_of(qtbot, loop, tab, model, *chunks, ChatChunk("", finish_reason="tool_calls"))
    assert shown.splitlines() == ['Wants to call a tool: weather {"city":"Rome"}', "Wants to call a tool: time {}"]
    assert "without a word" not in status


def test_enter_sends_and_with_shift_it_is_a_new_line(qtbot, loop, tab, model):
    tab.show_deployment(LLM)
    prompt = field(tab, "Prompt")

    async def scenario():
        qtbot.keyClicks(prompt, "one")
        qtbot.keyClick(prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
        qtbot.keyClicks(prompt, "two")
        assert model.asked == []
        qtbot.keyClick(prompt, Qt.Key.Key_Return)
        await until(lambda: model.asked)
        await until(lambda: not button(tab, "Stop").isEnabled())

    run(loop, scenario())
    assert model.asked == [("a", ({"role": "user", "content": "one\ntwo"},))]
    assert prompt.toPlainText() == ""


def test_one_can_type_at_once(qtbot, tab):
    tab.activateWindow()
    for deployment, name in ((LLM, "Prompt"), (embedding_deployment(), "Texts, one a line")):
        tab.show_deployment(deployment)
        tab.take_focus()
        qtbot.waitUntil(field(tab, name).hasFocus)


def test_what_is_asked_and_answered_stays_in_sight_where_there_is_little_room(qtbot, loop, tab, model):
    tab.show_deployment(LLM)
    tab.resize(320, tab.minimumSizeHint().height())
    model.chunks = [ChatChunk("one\ntwo\nthree\nfour\n"), ChatChunk("five", 2, 96.5)]
    bar = field(tab, "Conversation").verticalScrollBar()

    async def scenario():
        for text in ("Hi", "And?"):
            ask(qtbot, tab, text)
            await until(lambda: not button(tab, "Stop").isEnabled())

    run(loop, scenario())
    assert bar.maximum() > 0
    assert bar.value() == bar.maximum()


def test_a_conversation_goes_on_and_can_be_forgotten(qtbot, loop, tab, model):
    tab.show_deployment(LLM)

    async def scenario():
        for text in ("Hi", "And?"):
            ask(qtbot, tab, text)
            await until(lambda: not button(tab, "Stop").isEnabled())

    run(loop, scenario())
    assert [message["role"] for message in model.asked[1][1]] == ["user", "assistant", "user"]
    qtbot.mouseClick(button(tab, "New chat"), Qt.MouseButton.LeftButton)
    assert field(tab, "Conversation").toPlainText() == ""
    run(loop, scenario())
    assert len(model.asked[2][1]) == 1


def test_stop_cancels_and_keeps_what_has_come(qtbot, loop, tab, model):
    model.hang = True
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: "there" in field(tab, "Conversation").toPlainText())
        qtbot.mouseClick(button(tab, "Stop"), Qt.MouseButton.LeftButton)
        await until(lambda: model.was_cancelled)

    run(loop, scenario())
    assert field(tab, "Conversation").toPlainText().endswith("Hello there")
    assert not button(tab, "Stop").isEnabled()


@pytest.mark.parametrize("what", ["none", "an ended one", "cancel"])
def test_what_is_under_way_ends_with_its_deployment(qtbot, loop, tab, model, what):
    model.hang = True
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: model.is_hanging)
        if what == "cancel":
            tab.cancel()
        else:
            tab.show_deployment(None if what == "none" else samples.deployment("a", state=State.STOPPED))
        await until(lambda: model.was_cancelled)

    run(loop, scenario())


def test_an_answer_goes_on_while_one_looks_at_another_deployment(qtbot, loop, tab, model):
    model.hang = True
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: model.is_hanging)
        for other in (samples.deployment("b"), samples.deployment("c", state=State.STOPPED), embedding_deployment()):
            tab.show_deployment(other)
            assert "Hello" not in " ".join(
                each.toPlainText() for each in tab.findChildren(QPlainTextEdit) if each.isVisible()
            )
        tab.show_deployment(LLM)
        assert field(tab, "Conversation").toPlainText().endswith("Hello there")
        assert button(tab, "Stop").isEnabled()
        assert not model.was_cancelled
        for number in range(20):
            tab.show_deployment(samples.deployment(f"one of many {number}"))
        await until(lambda: model.was_cancelled)

    run(loop, scenario())
    assert len([e for e in tab.findChildren(QPlainTextEdit) if e.accessibleName() == "Prompt"]) <= 17


def test_what_cancelled_work_still_says_does_not_end_the_next(loop):
    ended = []
    asking = Asking(ended.append)

    async def fails_when_cancelled():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise LaunchdeckError.of(Cause.CRASHED, Message("Too late.")) from None

    async def scenario():
        asking.start(fails_when_cancelled)
        await asyncio.sleep(0.01)
        asking.start(lambda: asyncio.sleep(3600))
        await asyncio.sleep(0.01)
        assert ended == [""]
        assert asking.is_running
        asking.cancel()
        await asyncio.sleep(0.01)

    run(loop, scenario())
    assert ended == ["", ""]


def test_another_moment_of_the_same_deployment_disturbs_nothing(qtbot, loop, tab, model):
    model.hang = True
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: "there" in field(tab, "Conversation").toPlainText())
        tab.show_deployment(replace(LLM, vram_bytes=1))
        await asyncio.sleep(0.02)
        assert not model.was_cancelled
        assert button(tab, "Stop").isEnabled()
        tab.cancel()
        await until(lambda: model.was_cancelled)

    run(loop, scenario())


def test_looking_at_another_deployment_does_not_take_the_keyboard_away(qtbot, tab):
    elsewhere = QPushButton("elsewhere", tab)
    elsewhere.show()
    tab.activateWindow()
    elsewhere.setFocus()
    for key in "ab":
        tab.show_deployment(samples.deployment(key))
        assert elsewhere.hasFocus()


def test_a_failure_is_a_sentence_in_the_tab(qtbot, loop, tab, model):
    model.error = LaunchdeckError.of(Cause.CRASHED, Message("The engine is gone."), Message("Start it again."))
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: "The engine is gone. Start it again." in labels(tab))

    run(loop, scenario())
    assert not button(tab, "Stop").isEnabled()


@pytest.mark.expects_log_errors
def test_the_unexpected_is_logged_and_said(qtbot, loop, tab, model):
    model.error = RuntimeError("boom")
    tab.show_deployment(LLM)

    async def scenario():
        ask(qtbot, tab, "Hi")
        await until(lambda: any("unexpected" in text for text in labels(tab)))

    run(loop, scenario())


def test_ctrl_enter_sends_and_nothing_is_sent_without_words(qtbot, loop, tab, model):
    tab.show_deployment(LLM)
    prompt = field(tab, "Prompt")
    prompt.setPlainText("   ")
    assert not button(tab, "Send").isEnabled()

    async def scenario():
        prompt.setPlainText("Hi")
        qtbot.keyClick(prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
        await until(lambda: model.asked)
        await until(lambda: not button(tab, "Stop").isEnabled())

    tab.activateWindow()
    prompt.setFocus()
    run(loop, scenario())


def test_embeddings_tell_dimensions_time_and_similarity(qtbot, loop, tab, model):
    tab.show_deployment(embedding_deployment())
    field(tab, "Texts, one a line").setPlainText("a cat\n\n  a dog \n")

    async def scenario():
        qtbot.mouseClick(button(tab, "Embed"), Qt.MouseButton.LeftButton)
        await until(lambda: "2 × 2 dimensions in 12 ms" in labels(tab))

    run(loop, scenario())
    assert model.asked == [("e", ("a cat", "a dog"))]
    table = next(t for t in tab.findChildren(QTableWidget) if t.isVisible())
    assert [table.item(0, column).text() for column in range(2)] == ["1.000", "0.707"]
    tab.show_deployment(embedding_deployment("other"))
    assert [each.rowCount() for each in tab.findChildren(QTableWidget) if each.isVisible()] == [0]


@pytest.mark.parametrize(
    ("deployment", "words"),
    [(None, "Choose a running deployment"), (samples.deployment("a", state=State.LOADING), "qwen3-8b is not running")],
)
def test_without_a_running_deployment_it_says_so(tab, deployment, words):
    tab.show_deployment(deployment)
    assert any(words in text for text in labels(tab))


def test_cosine():
    assert cosine((1.0, 0.0), (0.0, 2.0)) == 0
    assert cosine((1.0, 1.0), (2.0, 2.0)) == pytest.approx(1)
    assert cosine((0.0,), (1.0,)) == 0
