"""What the tests of supervision share: a launcher without Qt, specifications, deadlines, and a look at what is left."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.serving.launcher import COMMAND, read_answer
from launchdeck.serving.processes import all_stats, sweep
from launchdeck.serving.shim_client import ShimClient
from launchdeck.settings.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.serving.processes import Process

FAKE_SERVER = str(Path(__file__).with_name("fake_server.py"))
PATIENCE_S = 15.0


class PlainLauncher:
    """Starts shims as QtShimLauncher does, where there is no Qt."""

    async def launch(self, spec: dict[str, Any]) -> Path:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate(json.dumps(spec).encode())
        return read_answer(process.returncode or 0, output, errors)


def fake_command(*switches: object) -> list[str]:
    return [sys.executable, "-I", FAKE_SERVER, *map(str, switches)]


def spec_of(*switches: object, argv: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    paths = Paths.resolve()
    model = secrets.token_hex(4)
    return {
        "id": model,
        "socket": str(paths.runtime / f"{model}.sock"),
        "folder": str(paths.records / model),
        "argv": argv or fake_command(*switches),
        "env": {},
        "env_unset": [],
        "redact": [],
        "secrets": {},
        "when_app_dies": "keep",
        "stop_grace_s": 5.0,
        "log_limit_bytes": 4 * 1024 * 1024,
        "created_at_s": time.time(),
        "plan": {"model_id": "demo"},
    } | changes


class Watch:
    """A client of a shim that keeps every event."""

    def __init__(self, client: ShimClient) -> None:
        self.client = client
        self.events: list[dict[str, Any]] = []
        self.task = client.listen(self.events.append)

    @classmethod
    async def start(cls, spec: dict[str, Any]) -> Watch:
        return cls(await ShimClient.connect(await PlainLauncher().launch(spec)))

    async def event(self, name: str) -> dict[str, Any]:
        """The first event of this name, now or soon."""
        await until_async(lambda: any(event["event"] == name for event in self.events))
        return next(event for event in self.events if event["event"] == name)

    async def ended(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.event("ended"))["status"]
        await self.client.close()
        return status

    async def stop(self, grace_s: float = PATIENCE_S) -> dict[str, Any]:
        await self.client.ask("stop", grace_s=grace_s)
        return await self.ended()

    async def fresh_status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.client.ask("status"))["status"]
        return status


def until(condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what or condition}"
        time.sleep(0.02)


async def until_async(condition: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what or condition}"
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def processes_of(home: Path) -> list[Process]:
    """Every process whose environment names this test's home: shims, engines and their workers."""
    mark = f"LAUNCHDECK_HOME={home}".encode()
    found = []
    for stat in all_stats():
        if stat.process[0] == os.getpid() or stat.is_zombie:
            continue
        try:
            environ = Path(f"/proc/{stat.process[0]}/environ").read_bytes()
        except OSError:
            continue
        if mark in environ.split(b"\0"):
            found.append(stat.process)
    return found


def end_all(home: Path) -> list[Process]:
    """Kill what a test has left behind, and say what that was."""
    left = processes_of(home)
    sweep(left, PATIENCE_S)
    return left
