"""A conversation with a language model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from launchdeck.ui.deployments.prompt import Prompt
from launchdeck.ui.deployments.transcript import Transcript
from launchdeck.ui.kit.asking import Asking
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.keys import give_key

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.serving.client import ChatChunk

_THOUGHT, _TOOL, _TEXT = "thought", "tool", "text"

Messages = tuple[dict[str, str], ...]
Chat = Callable[["Deployment", Messages], AsyncIterator["ChatChunk"]]


class ChatPane(QWidget):
    """Shows the conversation as it comes, how fast it came, and why it ended."""

    speed_measured = Signal(str, float)

    def __init__(self, chat: Chat, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chat = chat
        self._deployment: Deployment | None = None
        self._messages: Messages = ()
        self._asking = Asking(self._ended)
        self._transcript = Transcript()
        self._prompt = Prompt()
        self._prompt.entered.connect(self.send)
        self.setFocusProxy(self._prompt)
        self._status = QLabel(wordWrap=True)
        self._status.setProperty("role", "muted")
        self._clear = QPushButton(tr("New chat"), clicked=self._begin_anew)
        self._clear.setProperty("kind", "flat")
        self._stop = QPushButton(tr("Stop"), clicked=self.cancel)
        self._send = QPushButton(tr("Send"), clicked=self.send)
        self._send.setToolTip("Enter")
        give_key(self._clear, "Alt+N")
        give_key(self._stop, "Alt+T")
        self._prompt.textChanged.connect(self._update_buttons)
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(key), self, self.send, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._lay_out()
        self._update_buttons()

    def set_deployment(self, deployment: Deployment) -> None:
        """Talk to this one, as it is at this moment."""
        self._deployment = deployment

    def send(self) -> None:
        """Ask what stands in the prompt field."""
        text, deployment = self._prompt.toPlainText().strip(), self._deployment
        if not text or deployment is None or self._asking.is_running:
            return
        self._prompt.clear()
        self._messages = (*self._messages, {"role": "user", "content": text})
        self._transcript.begin(tr("You"))
        self._transcript.say(text)
        self._transcript.begin(deployment.plan.model_id)
        self._transcript.go_to_end()
        self._set_status(tr("Waiting for the first word …"))
        self._asking.start(lambda: self._answer(deployment))
        self._update_buttons()

    def clear(self) -> None:
        """Forget the conversation."""
        self.cancel()
        self._messages = ()
        self._transcript.clear()
        self._set_status("")

    def cancel(self) -> None:
        """Give up the answer that is coming; what has come stays."""
        self._asking.cancel()

    def _begin_anew(self) -> None:
        self.clear()
        self._prompt.setFocus()

    async def _answer(self, deployment: Deployment) -> None:
        answer, parts, finish_reason = "", set[str](), None
        started_s = time.perf_counter()
        first_s = None
        async for chunk in self._chat(deployment, self._messages):
            first_s = first_s or time.perf_counter()
            answer += chunk.text
            parts |= _parts(chunk)
            finish_reason = chunk.finish_reason or finish_reason
            self._transcript.add(chunk)
            self._measure(deployment.id, chunk, time.perf_counter() - first_s, time.perf_counter() - started_s)
        self._add_status(why_ended(parts, finish_reason))
        self._messages = (*self._messages, {"role": "assistant", "content": answer})

    def _measure(self, deployment_id: str, chunk: ChatChunk, streaming_s: float, elapsed_s: float) -> None:
        """The engine's own speed where it tells one, else what arrived here."""
        speed = chunk.tokens_per_s
        if speed is None and chunk.tokens and streaming_s > 0:
            speed = chunk.tokens / streaming_s
        parts = [tr("{seconds} s", seconds=f"{elapsed_s:.1f}")]
        if chunk.tokens:
            parts.append(tr("1 token") if chunk.tokens == 1 else tr("{count} tokens", count=f"{chunk.tokens:,}"))
        if speed is not None:
            parts.append(f"{speed:.1f} tok/s")
            self.speed_measured.emit(deployment_id, speed)
        self._set_status("  ·  ".join(parts))

    def _add_status(self, text: str) -> None:
        if text:
            self._set_status("  ·  ".join(part for part in (self._status.text(), text) if part))

    def _ended(self, error: str) -> None:
        if error:
            self._set_status(error, failed=True)
        self._update_buttons()

    def _set_status(self, text: str, *, failed: bool = False) -> None:
        self._status.setText(text)
        self._status.setProperty("state", "bad" if failed else "")
        self._status.style().polish(self._status)

    def _update_buttons(self) -> None:
        running = self._asking.is_running
        self._send.setEnabled(not running and bool(self._prompt.toPlainText().strip()))
        self._stop.setEnabled(running)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self._status, 1)
        for button in (self._clear, self._stop, self._send):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._transcript, 1)
        column.addWidget(self._prompt)
        column.addLayout(buttons)
        self.setTabOrder(self._prompt, self._send)
        self.setTabOrder(self._send, self._stop)


def _parts(chunk: ChatChunk) -> set[str]:
    """What of an answer this piece has."""
    return {
        part
        for part, there in ((_THOUGHT, chunk.thought), (_TOOL, chunk.tool_calls), (_TEXT, chunk.text.strip()))
        if there
    }


def why_ended(parts: set[str], finish_reason: str | None) -> str:
    """Tell what is not plain from an answer with these parts: where it was cut off, and why it is empty."""
    if finish_reason == "length":
        return tr("limit reached") if _TEXT in parts else tr("limit reached before it had answered")
    if _TOOL in parts or _TEXT in parts:
        return ""
    return tr("it has only thought, and not answered") if _THOUGHT in parts else tr("it has ended without a word")
