"""kill -9 of the application and of all its supervisors together, while models load whose engines start workers in
sessions of their own, one after the other: what is left after the next start.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.serving import processes_of, until
from launchdeck.serving.shim.processes import descendants, is_alive, send_signal

if TYPE_CHECKING:
    from e2e.real_application import RealApplication
    from launchdeck.serving.shim.processes import Process

MODELS = 3
SWITCHES = ("--load-s", 60, "--workers", 2, "--births", 30)
SETTLED_S = 1.0


def kill_shims(home: Path) -> None:
    """Every launcher and supervisor of this home, those too that are born meanwhile."""
    while shims := [process for process in processes_of(home) if _is_shim(process[0])]:
        for process in shims:
            send_signal(process, signal.SIGKILL)


def _is_shim(pid: int) -> bool:
    try:
        return b"/serving/shim/main.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def left_of(app: RealApplication) -> list[Process]:
    """The processes of this home that are neither the application's nor below it."""
    found = processes_of(app.home)
    own = {app.pid, *(pid for pid, _ in descendants({app.pid}))}  # later: it asks engines now and then
    return [process for process in found if process[0] not in own and is_alive(process)]


def load_all(app: RealApplication) -> None:
    for number in range(MODELS):
        app.load(f"model-{number}", *SWITCHES)


def kill_all(app: RealApplication, life_s: float) -> list[Process]:
    """Load, and kill after so many seconds. Gives what has outlived that."""
    load_all(app)
    time.sleep(life_s)
    app.kill()
    kill_shims(app.home)
    return left_of(app)


def kill_shims_alone(app: RealApplication, life_s: float) -> None:
    """The same for the supervisors alone; the application lives on, and has told that the models failed."""
    load_all(app)
    time.sleep(life_s)
    kill_shims(app.home)
    until(lambda: {entry["state"] for entry in app.entries()} == {"failed"}, "the models to fail")


def forget_all(app: RealApplication) -> list[Process]:
    """Take what has failed off the list. Gives what is left of it a moment later."""
    time.sleep(SETTLED_S)
    left = left_of(app)
    for entry in app.entries():
        app.post("unload", model_id=entry["id"])
    return left
