"""The engine as the shim sees it: one process, all that it starts, its output, and its end. Imported by the shim."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import time

from launchdeck.serving.shim.processes import Process, descendants, read_stat, send_signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OUTPUT_PIPE_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
TREE_POLL_S = 0.1
STDIN_GRACE_S = 0.1
"""llama-server with LLAMA_SERVER_ROUTER_PORT cleans up at SIGTERM, and then waits for its standard input to end."""
ORPHAN_GRACE_S = 2.0
"""What workers get whose engine has ended: Python's need a moment to give their shared memory back."""

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on every descendant that loses its parent becomes our child: none can leave the tree."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with(shim: int) -> None:
    """Runs in the engine's process before it becomes the engine."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != shim:  # it died before that was set
        os._exit(1)


class Engine:
    """`exit_code` is as subprocess has it, negative for a signal; `is_gone`: nothing of the whole tree is left."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.exit_code: int | None = None
        self.is_gone = False
        self.output: int = -1
        self._stdin: int | None = None  # kept open: its end tells an engine that nobody supervises it any more
        self._pid: int | None = None
        self._stopping = False
        self._kill_at_s: float | None = None
        self._stdin_until_s = 0.0
        self._last_read_bytes = 0
        self._flood_bytes = READ_BYTES
        self._next_poll_s = 0.0

    def start(self, argv: list[str], env: dict[str, str]) -> None:
        """In a session of its own, standard error joined to standard output. Raises OSError."""
        stdin, self._stdin = os.pipe()
        self.output, output = os.pipe()
        with contextlib.suppress(OSError):  # above the user's pipe limit the default size has to do
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, OUTPUT_PIPE_BYTES)
        self._flood_bytes = min(READ_BYTES, fcntl.fcntl(self.output, fcntl.F_GETPIPE_SZ) // 4)
        os.set_blocking(self.output, False)
        shim = os.getpid()
        try:
            child = subprocess.Popen(
                argv,
                env=env,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: die_with(shim),  # noqa: PLW1509 (the shim has no other thread)
            )
        except OSError:
            self.is_gone = True
            raise
        finally:
            os.close(stdin)
            os.close(output)
        child.returncode = 0  # it is reaped with all the others in `reap`, Popen shall not wait for it
        self._pid = child.pid
        stat = read_stat(child.pid)  # there even if the engine has ended: nobody has reaped it yet
        self.process = None if stat is None else stat.process

    @property
    def is_flooding(self) -> bool:
        """Whether the last read took so much that the pipe may fill up before long."""
        return self._last_read_bytes >= self._flood_bytes

    def read_output(self) -> bytes | None:
        """What has been written since; b"" at the end of the output, None if there is nothing just now."""
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return None
        self._last_read_bytes = len(data)
        return data

    def _reap(self) -> bool:
        """Take the exit status of every child that has ended, adopted ones as well. Whether there was any."""
        has_reaped = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return has_reaped
            if pid == 0:
                return has_reaped
            has_reaped = True
            if pid == self._pid:
                self.exit_code = os.waitstatus_to_exitcode(status)

    def _has_nobody(self) -> bool:
        """Whether the kernel knows no child of ours any more. Whoever loses its parent becomes one, so then nothing is
        left at all, which no look at /proc could say, where one is born while another dies.
        """
        self._reap()
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def tree(self) -> list[Process]:
        """Everything that lives, the engine first."""
        return sorted(descendants({os.getpid()}), key=lambda process: process != self.process)

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def begin_stop(self, grace_s: float) -> None:
        """Ask every process of the tree to end. Asked again, a shorter grace counts."""
        now_s = time.monotonic()
        kill_at_s = now_s + grace_s
        self._kill_at_s = kill_at_s if self._kill_at_s is None else min(self._kill_at_s, kill_at_s)
        self._next_poll_s = 0.0
        if self._stopping:
            return
        self._stopping = True
        self._stdin_until_s = now_s + STDIN_GRACE_S
        for process in self.tree():
            send_signal(process, signal.SIGTERM)
            send_signal(process, signal.SIGCONT)  # a stopped process would not hear the other

    def advance(self) -> None:
        """Carry a stop on: kill what outlives the grace until nothing is left. Called whenever the shim wakes up."""
        has_reaped = self._reap()
        if self.exit_code is not None and not self._stopping:
            self.begin_stop(ORPHAN_GRACE_S)
        now_s = time.monotonic()
        if not self._stopping or self.is_gone or (now_s < self._next_poll_s and not has_reaped):
            return
        self._next_poll_s = now_s + TREE_POLL_S
        tree = self.tree()
        if self._has_nobody():
            self.is_gone = True
        if self._stdin is not None and now_s >= self._stdin_until_s:
            os.close(self._stdin)
            self._stdin = None
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            for process in tree:
                send_signal(process, signal.SIGKILL)

    @property
    def next_poll_s(self) -> float | None:
        """When `advance` wants to be called again at the latest (monotonic seconds); None: only after a SIGCHLD."""
        if not self._stopping or self.is_gone or self._kill_at_s is None:
            return None
        is_grace_over = time.monotonic() >= self._kill_at_s
        return self._next_poll_s if is_grace_over else min(self._next_poll_s, self._kill_at_s)
