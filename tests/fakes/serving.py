"""What the tests of supervision share: a launcher without Qt, specifications, deadlines, and a look at what is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.model import ModelFormat, ModelInfo, ServerType
from launchdeck.domain.plan import MASK, DeviceEstimate, EngineInfo, EngineKind, Estimate, LaunchPlan, LayerPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.registry import adapters
from launchdeck.serving.launcher import COMMAND, ShimLauncher, read_answer
from launchdeck.serving.lifecycle import Event, next_state
from launchdeck.serving.manager import ProcessManager
from launchdeck.serving.shim.processes import all_stats, identify
from launchdeck.serving.shim_client import ShimClient
from launchdeck.serving.sweeping import sweep
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

if TYPE_CHECKING:
    from launchdeck.serving.shim.processes import Process

FAKE_SERVER = str(Path(__file__).with_name("fake_server.py"))
HOST = Path(__file__).with_name("serving_host.py")
PATIENCE_S = 15.0
_PORTS_OF_A_WORKER = 400
Planner = Callable[[ModelLoadRequest, int], LaunchPlan]


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


def free_ports(count: int) -> range:
    """That many consecutive ports nobody uses, away from the ones a user's models have.

    Tests that run at the same time look in different places: a port is only taken when a model is started. All of
    them stay below 32768, where the kernel begins to give ports to clients.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lowest = 18001 + worker * _PORTS_OF_A_WORKER
    for first in range(lowest, lowest + _PORTS_OF_A_WORKER - count, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return range(first, first + count)
    raise AssertionError("no free ports")


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


@pytest.fixture(autouse=True)
def no_process_left(launchdeck_home: Path) -> Iterator[None]:
    """Whatever a test does, nothing it started may outlive it. Holds where it is imported."""
    yield
    try:
        until(lambda: not processes_of(launchdeck_home), "the shims to go")
    finally:
        left = end_all(launchdeck_home)
    assert not left


def fake_planner(*switches: object, host: str = "127.0.0.1", secret: bool = True) -> Planner:
    """A planner of launches of the fake server with these switches; every plan gets its own port."""

    def plan(request: ModelLoadRequest, port: int) -> LaunchPlan:
        nothing = DeviceEstimate("cpu", 0, 0, 0, 0, None)
        name = request.model_id or "demo"
        return LaunchPlan(
            request=request,
            model=ModelInfo(
                request.model_path, "demo", ModelFormat.GGUF, "llama", 1, 1, 2048, "Q4_1", (ServerType.LLM,)
            ),
            model_id=name,
            engine=EngineInfo(EngineKind.LLAMA_SERVER, (sys.executable,), None, "1", frozenset({GpuType.CPU})),
            reasons=(Message("The model is a {format} file.", format=Message("GGUF")),),
            argv=(*fake_command(*switches), "--alias", name, "--host", host, "--port", str(port)),
            env=(("LLAMA_API_KEY", MASK),) if secret else (),
            env_unset=(),
            secret_env=("LLAMA_API_KEY",) if secret else (),
            host=host,
            port=port,
            n_ctx=2048,
            device_names=(),
            layers=LayerPlan(0, 0, 2, None),
            estimate=Estimate((), nothing),
            gpus=request.named_gpus,
        )

    return plan


@dataclass(slots=True)
class History:
    """Every state that every deployment was seen in, in order."""

    states: dict[str, list[State]] = field(default_factory=dict)

    def __call__(self, deployment: Deployment) -> None:
        seen = self.states.setdefault(deployment.id, [])
        if not seen or seen[-1] is not deployment.state:
            seen.append(deployment.state)


class Bench:
    """A manager with the fake server behind it, and ports of the test's own."""

    def __init__(
        self,
        *switches: object,
        planner: Planner | None = None,
        launcher: ShimLauncher | None = None,
        **settings: Any,
    ) -> None:
        first = free_ports(20).start
        self.settings = Settings(**{"first_port": first, "last_port": first, "probe_interval_s": 0.2} | settings)
        self.history = History()
        self.manager = ProcessManager(
            paths=Paths.resolve(),
            settings=lambda: self.settings,
            launcher=launcher or PlainLauncher(),
            planner=planner or fake_planner(*switches),
            adapters=adapters(),
        )
        self.manager.subscribe(self.history)

    async def load(self, **request: Any) -> str:
        deployment = await self.manager.load(ModelLoadRequest(Path("/models/demo.gguf"), **request))
        return deployment.id

    def get(self, deployment_id: str) -> Deployment:
        return next(d for d in self.manager.deployments if d.id == deployment_id)

    async def until_state(self, deployment_id: str, *states: State) -> Deployment:
        await until_async(lambda: self.get(deployment_id).state in states or not self.get(deployment_id).state.is_live)
        deployment = self.get(deployment_id)
        assert deployment.state in states, f"{deployment.state}: {deployment.failure}"
        return deployment

    async def lines(self, deployment_id: str, count: int) -> list[str]:
        """The log, as soon as it has so many lines."""
        log = self.manager.log(deployment_id)
        await until_async(lambda: log.lines_since(0)[0] >= count)
        return log.lines_since(0)[1]

    async def running(self, **request: Any) -> Deployment:
        return await self.until_state(await self.load(**request), State.RUNNING)


def is_legal(states: Iterable[State]) -> bool:
    """Whether every one of these states may follow the one before."""
    legal: set[tuple[State, State]] = set()
    for state, event in product(State, Event):
        with contextlib.suppress(ValueError):
            legal.add((state, next_state(state, event)))
    return all(step in legal for step in pairwise(states))


def alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if identify(pid) is not None]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def shim_of(engine: int) -> int:
    return int(Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[1])


class Application:
    """An application in a process of its own, with models that run."""

    def __init__(self, count: int, policy: str, *switches: object) -> None:
        tests, app = HOST.parents[1], Path(sys.modules["launchdeck"].__file__).parents[1]
        self.process = subprocess.Popen(
            [sys.executable, HOST, str(count), policy, *map(str, switches)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{tests}:{app}"},
        )
        told = json.loads(self.process.stdout.readline())
        self.models: list[Any] = told["models"]
        self.adoption_s: float = told["adoption_s"]

    @property
    def pids(self) -> list[int]:
        return [pid for _, _, pids, _ in self.models for pid in pids]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: identify(pid) is None)
