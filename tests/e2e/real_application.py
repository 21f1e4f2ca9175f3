"""The real application in a process of its own, offscreen, with a real or a fake llama-server, seen from outside: by
its HTTP interface, its files and its processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from fakes.gguf_models import llama
from fakes.llama_server import install
from fakes.serving import end_all, free_ports, processes_of, until
from launchdeck.serving.records.records import ShimStatus, read_record
from launchdeck.serving.shim.processes import identify
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore

START_DEADLINE_S = 60.0
DEADLINE_S = 30.0
WINDOW = """
import argparse
from launchdeck.compose import run_window
raise SystemExit(run_window(argparse.Namespace()))
"""
WITHOUT_WINDOW = ("-m", "launchdeck", "serve")
QUICK: dict[str, Any] = {
    "language": "en",
    "api_port": 0,
    "sampling_interval_s": 1.0,
    "probe_interval_s": 0.2,
    "stop_grace_s": 1.0,
    "restart_pause_s": 0.1,
    "log_limit_mib": 4,
    "on_quit": "keep",
}


class RealApplication:
    """`home` outlives the process: the application can be started again. `errors` is what it said on standard error."""

    def __init__(self, home: Path, engine: Path | None = None, model: Path | None = None, **settings: Any) -> None:
        """`engine`: the real llama-server instead of the fake one; `model`: what to load with it."""
        self.home = home
        self.paths = Paths(*(home / name for name in ("config", "data", "state", "cache", "runtime")))
        self.models = home / "data" / "models"
        self.models.mkdir(parents=True)
        self._model = model
        self.ports = settings.pop("ports", None) or free_ports(20)
        self.settings = Settings(
            **{
                **QUICK,
                "first_port": self.ports.start,
                "last_port": self.ports.stop - 1,
                "llama_server_path": str(install(home, engine)),
                **settings,
            }
        )
        SettingsStore(self.paths.settings_file).save(self.settings)
        self.environment: dict[str, str] = {}
        self.command: tuple[str, ...] = ("-c", WINDOW)
        self.process: subprocess.Popen[bytes] | None = None
        self.errors_file = home / "errors.txt"
        self.http = httpx.Client(timeout=START_DEADLINE_S)

    # The application

    def start(self, command: tuple[str, ...] | None = None) -> RealApplication:
        """Returns when its interface answers, that is when everything is adopted. By default a window."""
        self.launch(command)
        self.until_open()
        return self

    def launch(self, command: tuple[str, ...] | None = None) -> None:
        environment = {**os.environ, "LAUNCHDECK_HOME": str(self.home), **self.environment}
        with self.errors_file.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *(command or self.command)], env=environment, stdout=subprocess.DEVNULL, stderr=errors
            )

    def until_open(self) -> None:
        assert self.process is not None
        self.join(self.process)

    def join(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Speak from now on to the application of this home that is, or will soon be open; `process` must not end."""
        runtime = self.paths.runtime

        def answers() -> bool:
            assert process is None or process.poll() is None, f"ended with {process.returncode}: {self.errors}"
            with contextlib.suppress(OSError, httpx.HTTPError):
                return self.http.get((runtime / "api-url").read_text() + "/ping").status_code == 204
            return False

        until(answers, "the interface", START_DEADLINE_S)
        self.http.base_url = httpx.URL((runtime / "api-url").read_text())
        self.http.headers["Authorization"] = f"Bearer {(runtime / 'api-token').read_text()}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def errors(self) -> str:
        return self.errors_file.read_text(errors="replace")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Its exit status after SIGTERM."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(START_DEADLINE_S)

    def change_settings(self, **changes: Any) -> None:
        """For the next start."""
        self.settings = replace(self.settings, **changes)
        SettingsStore(self.paths.settings_file).save(self.settings)

    def close(self) -> None:
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        end_all(self.home)

    # What it does

    def model(self, name: str, *switches: object) -> Path:
        """A model of this name in the library; the engine will do what the switches say."""
        path = self.models / f"{name}.gguf"
        if self._model is None:
            llama().write(path)
        else:
            path.unlink(missing_ok=True)
            path.hardlink_to(self._model) if path.parent.stat().st_dev == self._model.stat().st_dev else (
                path.write_bytes(self._model.read_bytes())
            )
        path.with_name(path.name + ".switches").write_text(json.dumps([str(switch) for switch in switches]))
        return path

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/api/inference/{path}", json=body)

    def load(self, name: str, *switches: object, **changes: Any) -> dict[str, Any]:
        answer = self.ask_load(name, *switches, **changes)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def ask_load(self, name: str, *switches: object, **changes: Any) -> httpx.Response:
        return self.ask_load_file(self.model(name, *switches), name, **changes)

    def ask_load_file(self, path: Path, name: str, **changes: Any) -> httpx.Response:
        """On the CPU, by the llama-server of the settings."""
        body = {"model_path": str(path), "model_id": name, "gpu_indices": [], "n_ctx": 256}
        return self.post("load", **body | {"engine_id": f"llama-server:{self.settings.llama_server_path}"} | changes)

    def stop(self, name: str) -> None:
        answer = self.post("unload", model_id=name)
        assert answer.status_code == 200, answer.text

    def entries(self) -> list[dict[str, Any]]:
        return list(self.http.get("/api/inference/loading-status").json()["models"])

    def entry(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.entries() if entry["model_id"] == name)

    def until_state(self, name: str, state: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The model's entry, as soon as it is in this state. One that has failed instead tells why."""
        deadline = time.monotonic() + deadline_s
        while (entry := self.entry(name))["state"] != state:
            assert entry["state"] != "failed", entry["error"]
            assert time.monotonic() < deadline, f"{name} is {entry['state']} and not {state}"
            time.sleep(0.02)
        return entry

    def running(self, name: str, *switches: object, **changes: Any) -> dict[str, Any]:
        self.load(name, *switches, **changes)
        return self.until_state(name, "running")

    def lines(self, name: str) -> list[str]:
        answer = self.http.get(f"/api/inference/logs/{name}", params={"lines": 10_000})
        return list(answer.json()["lines"])

    # What is left of it

    def record(self, deployment_id: str) -> ShimStatus:
        return read_record(self.paths.records / deployment_id / "record.json").status

    def tree(self, deployment_id: str, size: int = 1) -> list[int]:
        """The pids of the engine and of all it started, as soon as there are so many."""

        def is_there() -> bool:
            with contextlib.suppress(FileNotFoundError):  # the shim is just being started
                return len(self.record(deployment_id).tree) >= size
            return False

        until(is_there, f"{size} processes", DEADLINE_S)
        return [pid for pid, _ in self.record(deployment_id).tree]

    def shim(self, deployment_id: str) -> int:
        process = self.record(deployment_id).shim
        assert process is not None
        return process[0]


def took(action: Callable[[], object]) -> float:
    """How many seconds it took."""
    began_s = time.monotonic()
    action()
    return time.monotonic() - began_s


def gone_after(pids: list[int], deadline_s: float) -> float:
    """How many seconds it took until none of them lived."""
    return took(lambda: until(lambda: not [p for p in pids if identify(p)], f"{pids} to go", deadline_s))


def resident_mib(pid: int) -> float:
    """What a process holds of the memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def application(engine: Path | None = None, model: Path | None = None, **settings: Any) -> Iterator[RealApplication]:
    """Not started yet; at the end nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="ld-") as folder:
        real = RealApplication(Path(folder), engine, model, **settings)
        try:
            yield real
        finally:
            real.close()
            assert processes_of(real.home) == []
