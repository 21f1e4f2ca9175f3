"""The HTTP interface on a free port, with the real planner and manager, and the fake server as the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from fakes.gguf_models import llama
from fakes.samples import two_gpus
from fakes.serving import PlainLauncher, fake_command, free_port
from launchdeck.api.backend import Backend
from launchdeck.api.server import ApiServer
from launchdeck.domain.gpu import GpuType, Inventory
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.serving.manager import ProcessManager
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup

DEADLINE_S = 15.0


class ApiBench:
    """Lives in one event loop; `http` sends the token."""

    def __init__(self, *switches: object, inventory: Inventory | None, hand_over: bool, **settings: Any) -> None:
        first = free_port()
        fresh = Settings(**{"first_port": first, "last_port": first, "probe_interval_s": 0.2} | settings)
        self.setup = Setup.of(Paths.resolve(), settings=fresh)
        self.planner = Planner(lambda: self.setup.settings)
        self.planner.inventory = inventory
        command = tuple(fake_command(*switches))
        vendors = frozenset({GpuType.NVIDIA, GpuType.AMD})
        self.planner.engines = (EngineInfo(EngineKind.LLAMA_SERVER, command, Path(command[-1]), "1", vendors),)
        self.manager = ProcessManager(
            paths=self.setup.paths,
            settings=lambda: self.setup.settings,
            launcher=PlainLauncher(),
            planner=self.planner.plan,
            adapters=adapters(),
        )
        self.manager.subscribe(self.planner.on_deployment)
        self.handed_over = 0
        self._lets_go = hand_over
        self.backend = Backend(self.setup, self.planner, self.manager, hand_over=self._hand_over)
        self.server = ApiServer(self.backend)

    async def _hand_over(self) -> bool:
        self.handed_over += 1
        return self._lets_go

    def model(self, name: str = "tiny.gguf") -> Path:
        """A model of a few kilobytes in the library."""
        folder = self.setup.paths.data / "models"
        folder.mkdir(exist_ok=True)
        return llama(n_layer=5).write(folder / name)

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Without the token, except for what is given."""
        return httpx.AsyncClient(base_url=self.server.url, headers=headers, timeout=DEADLINE_S)

    async def load(self, http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
        body = {"model_path": str(self.model()), "gpu_indices": [], "n_ctx": 128} | changes
        answer = await http.post("/api/inference/load", json=body)
        assert answer.status_code == 202, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def until(self, http: httpx.AsyncClient, model_id: str, state: str) -> dict[str, Any]:
        """The model's entry in loading-status, as soon as it has this state."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                entries = (await http.get("/api/inference/loading-status")).json()["models"]
                for entry in entries:
                    if entry["model_id"] == model_id and entry["state"] == state:
                        return dict(entry)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    *switches: object, inventory: Inventory | None = None, hand_over: bool = False, **settings: Any
) -> AsyncIterator[tuple[ApiBench, httpx.AsyncClient]]:
    """The interface, and a client with its token; at the end all models are stopped."""
    bench = ApiBench(*switches, inventory=inventory or two_gpus(), hand_over=hand_over, **settings)
    await bench.server.start(0)
    try:
        async with bench.client(Authorization=f"Bearer {bench.server.token}") as http:
            yield bench, http
    finally:
        await bench.server.close()
        await bench.manager.close(keep=False)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


async def raw(port: int, request: bytes, *, patience_s: float = DEADLINE_S) -> bytes:
    """Send these bytes and read until the server has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(patience_s):
            return await reader.read()
    except ConnectionResetError:  # it has not read all that was sent
        return b""
    finally:
        writer.close()
