"""A plan started as a real process, without the supervisor: what the engine says, and how it answers and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.engines.adapter import Findings
from launchdeck.engines.devices.masking import child_environment
from launchdeck.engines.registry import adapters

if TYPE_CHECKING:
    from launchdeck.domain.plan import LaunchPlan

KEY = "a-key-for-this-test"
READY_DEADLINE_S = 60.0
END_DEADLINE_S = 30.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class EngineProcess:
    """The engine of a plan; its output goes into a file."""

    def __init__(self, plan: LaunchPlan, log: Path) -> None:
        self.plan = plan
        self._log = log
        env = child_environment(os.environ, plan.env, plan.env_unset) | dict.fromkeys(plan.secret_env, KEY)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                plan.argv, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, env=env
            )

    def until_ready(self) -> Findings:
        """Wait for /health, then for the line that ends a start; gives what was read."""
        deadline = time.monotonic() + READY_DEADLINE_S
        while self.health() != 200 or self.findings().stage != "ready":
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        return self.findings()

    def until_ended(self) -> int:
        return self.process.wait(END_DEADLINE_S)

    def health(self) -> int | None:
        """The HTTP status of /health, None where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.plan.port}/health", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def findings(self) -> Findings:
        adapter = adapters()[self.plan.engine.kind]
        findings = Findings()
        for line in self.text().splitlines():
            findings = adapter.read_line(findings, line)
        return findings

    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()


@contextmanager
def running(plan: LaunchPlan, log: Path) -> Iterator[EngineProcess]:
    engine = EngineProcess(plan, log)
    try:
        yield engine
    finally:
        engine.end()


@contextmanager
def rpc_worker(program: Path) -> Iterator[str]:
    """A worker on this machine; gives its address."""
    port = free_port()
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + READY_DEADLINE_S
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, "the worker does not listen"
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
