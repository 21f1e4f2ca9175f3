"""The shim's loop: one engine, its log, its record, and whoever connects. One thread. Imported by the shim."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time

from launchdeck.files.removal import remove_socket
from launchdeck.serving.shim.connection import PROTOCOL, Connection
from launchdeck.serving.shim.engine import Engine
from launchdeck.serving.shim.log import LogWriter, head_bytes
from launchdeck.serving.shim.mark import variables
from launchdeck.serving.shim.processes import read_stat
from launchdeck.serving.shim.record import Record, make_folder
from launchdeck.serving.shim.redaction import Redactor

TICK_S = 2.0
OUTPUT_INTERVAL_S = 0.25
"""An engine that chatters does not wake its shim for every line: the pipe holds what comes meanwhile."""
TREE_INTERVAL_MAX_S = 10.0
FIRST_CONTACT_S = 30.0
ABANDONED_GRACE_S = 4.0
"""With "stop", all of a model is gone five seconds after the application's death: nobody is left to wait longer."""
BACKLOG = 16
MOST_GRACE_S = 24 * 3600.0
MOST_MISTAKES = 20
MISTAKE_PAUSE_S = 0.2
_PLENTY = {getattr(signal, name, None) for name in ("SIGPOLL", "SIGPWR", "SIGSTKFLT", "SIGVTALRM", "SIGPROF")}
WAKING = (
    *(signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE),
    *(signum for signum in _PLENTY if signum is not None),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU)

TYPE_CHECKING = False  # `typing` is not worth its import time here
if TYPE_CHECKING:
    from typing import Any


def listen(path: str) -> socket.socket:
    """A socket that only this user may connect to. Raises OSError."""
    make_folder(os.path.dirname(path))
    remove_socket(*split_socket(path))
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def split_socket(path: str) -> tuple[str, str]:
    """The folder of a socket, as it really is, and the socket's name in it."""
    folder, name = os.path.split(path)
    return os.path.realpath(folder), name


def is_asked_for(spec: dict[str, Any]) -> bool:
    """Whether the application that asked for this model lives. Looked at once the record is there: an application that
    dies later is followed by one that finds the record. One of an older version does not say who it is.
    """
    launcher = read_stat(os.getppid())
    return "launched_by" not in spec or (launcher is not None and launcher.parent == spec["launched_by"])


def between(low: float, value: Any, high: float) -> Any:
    """The value, or the limit that it is beyond. Raises ValueError for what is no number."""
    if value != value:  # noqa: PLR0124 (that is how NaN is known)
        raise ValueError("not a number")
    return min(max(low, value), high)


class Shim:
    def __init__(self, spec: dict[str, Any], listener: socket.socket) -> None:
        self._spec = spec
        self._listener = listener
        self._socket_inode = os.stat(spec["socket"]).st_ino
        self._record = Record(spec["folder"], spec)
        self._record.save()  # before the engine starts: nothing may run that nobody knows of
        self._refusal = None if is_asked_for(spec) else "the application that asked for it has ended"
        self._log = LogWriter(spec["folder"], spec["log_limit_bytes"])
        self._redactor = Redactor([*spec["redact"], self._record.facts["mark"]])
        self._engine = Engine()
        self._connections: list[Connection] = []
        self._selector = selectors.DefaultSelector()
        self._wakeup = socket.socketpair()
        self._when_app_dies: str = spec["when_app_dies"]
        self._alone_since_s = time.monotonic()
        self._was_contacted = False
        self._log_failed = False
        self._is_hearing = False
        self._next_output_s: float | None = None
        self._next_tick_s = 0.0
        self._next_tree_s = 0.0
        self._tree_interval_s = 1.0
        self._is_ended = False
        self._is_stop_wanted = False
        self._mistakes = 0

    def run(self) -> None:
        """Returns when the engine is gone, that is on record, and nobody is connected any more."""
        self._wake_on_signals()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._start_engine()
        while not self._may_go():
            try:
                self._turn()
            except Exception:  # noqa: BLE001 (whatever it is, say a table that is full for a moment: the model goes on)
                self._note_mistake()
        if self._has_socket():  # the next launch of the same deployment may have taken its place
            with contextlib.suppress(OSError):
                remove_socket(*split_socket(self._spec["socket"]))
        self._log.close()

    def _turn(self) -> None:
        """One turn of the loop: wait until there is something to do, and do it."""
        for key, _ in self._selector.select(self._timeout_s()):
            key.data()
        if self._is_stop_wanted and not self._engine.is_stopping:
            self._stop(self._spec["stop_grace_s"])
        if self._next_output_s is not None and time.monotonic() >= self._next_output_s:
            self._take_output()
        self._engine.advance()
        self._tick()
        self._end_if_gone()
        self._serve_connections()

    def _note_mistake(self) -> None:
        """To the file of errors, the first ones. What cannot be done now is tried again, and not at full speed."""
        self._mistakes += 1
        if self._mistakes <= MOST_MISTAKES:
            sys.excepthook(*sys.exc_info())
        time.sleep(MISTAKE_PAUSE_S)

    def _wake_on_signals(self) -> None:
        """SIGCHLD only has to wake the loop; a logout is survived, and so is what means nothing to a shim; what asks a
        program to end asks for a stop. No signal that can be caught ends a shim without its sweep.
        """
        for end in self._wakeup:
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ, self._drain_wakeups)
        for signum in WAKING:  # not SIG_IGN: the engine would inherit that
            signal.signal(signum, lambda *_: None)
        for signum in ENDING:
            signal.signal(signum, self._want_stop)

    def _want_stop(self, *_: object) -> None:
        """A signal may come in the middle of anything: the loop does the rest."""
        self._is_stop_wanted = True

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup[0].recv(4096)

    def _start_engine(self) -> None:
        env = {name: value for name, value in os.environ.items() if name not in self._spec["env_unset"]}
        marks = variables(self._spec["id"], self._record.facts["mark"])
        if self._refusal is not None:
            self._end_unstarted(self._refusal)
            return
        try:
            self._engine.start(self._spec["argv"], env | self._spec["env"] | marks)
        except (OSError, ValueError) as error:
            self._end_unstarted(str(error))
            return
        self._hear_engine(is_wanted=True)
        tree = [self._engine.process] if self._engine.process else []
        self._record.update(engine=self._engine.process, tree=tree, started_at_s=time.time())

    def _end_unstarted(self, reason: str) -> None:
        self._record.update(start_error={"path": self._spec["argv"][0], "reason": reason})
        self._end()

    def _take_output(self) -> None:
        """Called when there is output, and again some time after there was: until then the engine is not heard."""
        data = self._engine.read_output()
        if data:
            self._write_log(self._redactor.feed(data))
        may_wait = bool(data) and not self._engine.is_flooding
        self._hear_engine(is_wanted=data != b"" and not may_wait)
        self._next_output_s = time.monotonic() + OUTPUT_INTERVAL_S if may_wait else None

    def _tell_all_output(self) -> None:
        """Who asks how it stands shall also know what it said up to now: nothing waits for its interval."""
        if self._next_output_s is not None:
            self._take_output()
        for connection in self._connections:
            connection.hurry()

    def _hear_engine(self, *, is_wanted: bool) -> None:
        if is_wanted and not self._is_hearing:
            self._selector.register(self._engine.output, selectors.EVENT_READ, self._take_output)
        elif not is_wanted and self._is_hearing:
            self._selector.unregister(self._engine.output)
        self._is_hearing = is_wanted

    def _write_log(self, data: bytes) -> None:
        self._log.write(data)
        failed = self._log.error is not None
        if failed and not self._log_failed:
            self._broadcast(self._log_warning())
        self._log_failed = failed

    def _log_warning(self) -> dict[str, Any]:
        return {"event": "warning", "reason": str(self._log.error)}

    def _tick(self) -> None:
        """What has to be looked at from time to time."""
        now_s = time.monotonic()
        if now_s < self._next_tick_s:
            return
        self._next_tick_s = now_s + TICK_S
        if not self._is_ended:  # then the application may have forgotten it
            self._record.heal()
            self._log.heal()
        self._record.retry()
        self._remake_socket()
        if now_s >= self._next_tree_s and not self._is_ended:
            self._next_tree_s = now_s + self._tree_interval_s
            self._tree_interval_s = min(2 * self._tree_interval_s, TREE_INTERVAL_MAX_S)
            self._look_at_tree()
        nobody_came = not self._was_contacted and now_s - self._alone_since_s > FIRST_CONTACT_S
        if nobody_came and self._when_app_dies == "stop" and not self._engine.is_stopping:
            self._stop_abandoned()

    def _has_socket(self) -> bool:
        try:
            return os.stat(self._spec["socket"]).st_ino == self._socket_inode
        except OSError:
            return False

    def _remake_socket(self) -> None:
        """The runtime folder may vanish when the user logs out while models live on."""
        if self._has_socket():
            return
        listener = None
        try:
            listener = listen(self._spec["socket"])
            self._socket_inode = os.stat(self._spec["socket"]).st_ino
        except OSError:  # tried again at the next tick
            if listener is not None:
                listener.close()
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def _look_at_tree(self) -> None:
        tree = self._engine.tree()
        if tree != [tuple(process) for process in self._record.facts["tree"]]:
            self._record.update(tree=tree)
            self._broadcast({"event": "tree", "tree": tree})

    def _stop(self, grace_s: float) -> None:
        if not self._is_ended:
            self._look_at_tree()
            self._record.update(stop_asked=True)
            self._broadcast({"event": "stopping"})
            self._engine.begin_stop(grace_s)

    def _stop_abandoned(self) -> None:
        self._stop(min(self._spec["stop_grace_s"], ABANDONED_GRACE_S))

    def _end_if_gone(self) -> None:
        if not self._engine.is_gone or self._is_ended:
            return
        while data := self._engine.read_output():
            self._write_log(self._redactor.feed(data))
        self._write_log(self._redactor.flush())
        self._end()

    def _end(self) -> None:
        self._is_ended = True
        self._alone_since_s = time.monotonic()
        self._record.update(tree=[], exit_code=self._engine.exit_code, ended_at_s=time.time(), log_size=self._log.end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone already
            sock, _ = self._listener.accept()
            connection = Connection(sock, self._log, head_bytes(self._spec["log_limit_bytes"]))
            self._connections.append(connection)
            self._selector.register(
                sock,
                selectors.EVENT_READ,
                lambda: connection.receive(lambda request: self._answer(connection, request)),
            )
            connection.send({"event": "hello", "protocol": PROTOCOL, "status": self._record.status()})
            if self._log_failed:
                connection.send(self._log_warning())

    def _answer(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any]:
        """Raises KeyError, TypeError or ValueError for a request that makes no sense."""
        match request["do"]:
            case "status":
                self._look_at_tree()
                self._tell_all_output()
                return {"status": self._record.status()}
            case "hold":
                self._when_app_dies = str(request["when_app_dies"])
                self._was_contacted = connection.is_holder = True
            case "release":
                connection.is_holder = False
            case "follow":
                connection.follow(between(0, int(request["offset"]), self._log.end))
            case "stop":
                self._stop(between(0.0, float(request.get("grace_s", self._spec["stop_grace_s"])), MOST_GRACE_S))
            case "note":
                self._record.update(note=self._record.facts["note"] | dict(request["note"]))
            case "secrets":
                return {"secrets": self._spec["secrets"]}
            case other:
                raise ValueError(f"unknown request {other!r}")
        return {}

    def _serve_connections(self) -> None:
        for connection in list(self._connections):
            connection.flush()
            has_all = connection.pump(hurry=self._is_ended)
            if has_all and self._is_ended and not connection.was_told:
                connection.was_told = self._was_contacted = True
                ended = {"event": "ended", "following": connection.is_following, "status": self._record.status()}
                connection.send(ended)
            if not connection.is_open:
                self._forget(connection)
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_to_write else 0)
            key = self._selector.get_key(connection.socket)
            if key.events != events:
                self._selector.modify(connection.socket, events, key.data)

    def _forget(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.socket)
        connection.close()
        if connection.is_holder and self._when_app_dies == "stop":
            self._stop_abandoned()

    def _broadcast(self, message: dict[str, Any]) -> None:
        for connection in self._connections:
            connection.send(message)

    def _timeout_s(self) -> float:
        moments = [self._next_tick_s, self._next_output_s, self._engine.next_poll_s]
        moments += [connection.next_batch_s for connection in self._connections]
        return max(0.0, min(moment for moment in moments if moment is not None) - time.monotonic())

    def _may_go(self) -> bool:
        """An engine that ended at once leaves the launching application time to connect and be told. What cannot be
        written down, say because the disk is away, keeps it, unless it is told to end or nobody will read it.
        """
        if not self._is_ended or self._connections:
            return False
        if not self._record.retry() and not self._is_stop_wanted and not self._record.is_forgotten():
            return False
        return self._was_contacted or time.monotonic() - self._alone_since_s > FIRST_CONTACT_S
