"""A random walk through the life of the real application without a window: models are loaded, stopped, restarted and
die; shims and the application are killed at any moment. After every step what its interface says has to agree with
the processes and ports there are: no model is lost or there twice, nothing is orphaned. Faults 1 to 3, 6 and 8.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from e2e.events import Events
from e2e.real_application import DEADLINE_S, WITHOUT_WINDOW, RealApplication
from fakes.serving import answers, is_legal, processes_of, until
from launchdeck.domain.deployment import State
from launchdeck.serving.shim.processes import descendants, identify

MOST_MODELS = 3
WALKS = int(os.environ.get("LAUNCHDECK_WALKS", "5"))  # more, to look for what five do not find
STEPS = 10
NOT_YET = ("queued", "starting")
pauses = st.sampled_from([0.0, 0.05, 0.3])
picks = st.integers(0, MOST_MODELS)
"""Which one, of however many there are: what is drawn must not depend on how quick the machine is."""


def picked(keys: Iterable[str], pick: int) -> str | None:
    """None where there is none."""
    there = sorted(keys)
    return there[pick % len(there)] if there else None


def told(step: Callable[..., None]) -> Callable[..., None]:
    """A step that says what went wrong: taken once more, as hypothesis does, it may well succeed."""

    @functools.wraps(step)
    def saying(self: Walk, *arguments: Any, **chosen: Any) -> None:
        self.steps.append(f"{step.__name__}({chosen or ''})")
        try:
            step(self, *arguments, **chosen)
        except Exception:
            print("\n".join(self.steps), self.app.errors[-5000:], self.app.entries(), sep="\n\n")
            traceback.print_exc(file=sys.stdout)
            raise

    return saying


class Walk(RuleBasedStateMachine):
    """Every engine has a worker that leaves its session, as vLLM's do."""

    @initialize(restart=st.sampled_from(("never", "on failure")))
    def begin(self, restart: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ld-"))
        self.app = RealApplication(self.home, stall_timeout_s=600.0, restart=restart)
        self.path = self.app.model("demo", "--load-s", 0.1, "--workers", 1, "--stubborn-workers")
        self.events: Events | None = None
        self.steps: list[str] = []
        self.start()

    def start(self) -> None:
        self.app.start(WITHOUT_WINDOW)
        self.events = Events(self.app)
        self.events.__enter__()

    def check_history(self) -> None:
        """Of this run of the application."""
        assert self.events is not None
        for states in self.events.all().values():
            assert is_legal(map(State, states)), states
        self.events.__exit__()

    # What is there

    def entries(self) -> dict[str, dict[str, Any]]:
        entries = self.app.entries()
        assert len({entry["id"] for entry in entries}) == len(entries), "one row of an id"
        return {entry["id"]: entry for entry in entries}

    def live(self) -> dict[str, dict[str, Any]]:
        return {key: entry for key, entry in self.entries().items() if entry["state"] != "failed"}

    def shims(self) -> dict[str, int]:
        """By the records of those that live."""
        found = {}
        for key in self.live():
            with contextlib.suppress(FileNotFoundError):
                shim = self.app.record(key).shim
                if shim is not None and identify(shim[0]) == shim:
                    found[key] = shim[0]
        return found

    def explained(self) -> set[int]:
        """The application and, by its own rows, whatever else there should be."""
        shims = set(self.shims().values())
        return {self.app.pid, *shims, *(pid for pid, _ in descendants(shims))}

    @invariant()
    @told
    def rows_agree_with_processes_and_ports(self) -> None:
        if not hasattr(self, "events"):
            return
        until(self.agree, "rows, processes and ports to agree", DEADLINE_S)
        live = self.live()
        assert len({entry["model_id"] for entry in live.values()}) == len(live), "one of a name"
        assert len({entry["port"] for entry in live.values()}) == len(live), "one on a port"

    def agree(self) -> bool:
        """In the end; a process that is being started or swept at this moment may be told a moment later."""
        there = {pid for pid, _ in processes_of(self.home)}
        rows = self.live()
        if there - self.explained() or {key for key, entry in rows.items() if entry["state"] not in NOT_YET} - set(
            self.shims()
        ):
            return False
        running = [entry["port"] for entry in rows.values() if entry["state"] == "running"]
        free = {entry["port"] for entry in self.entries().values()} - {entry["port"] for entry in rows.values()}
        return all(map(answers, running)) and not any(map(answers, free))

    # What happens

    @rule()
    @told
    def load(self) -> None:
        if len(self.live()) == MOST_MODELS:
            return
        number = next(n for n in range(99) if f"m{n}" not in {e["model_id"] for e in self.entries().values()})
        answer = self.app.ask_load_file(self.path, f"m{number}")
        assert answer.status_code == 202, answer.text

    @rule()
    @told
    def let_all_run(self) -> None:
        until(lambda: {e["state"] for e in self.live().values()} <= {"running"}, "all to run", DEADLINE_S)

    @rule(pick=picks)
    @told
    def stop(self, pick: int) -> None:
        chosen = picked(self.entries(), pick)
        if chosen is None:
            return
        port = self.entries()[chosen]["port"]
        self.app.stop(chosen)
        assert chosen not in self.entries()
        assert not answers(port)

    @rule(pick=picks)
    @told
    def restart(self, pick: int) -> None:
        chosen = picked(self.entries(), pick)
        if chosen is None:
            return
        answer = self.app.post("restart", model_id=chosen)
        assert answer.status_code == 202, answer.text
        assert chosen not in self.entries()
        assert answer.json()["id"] in self.live()

    @rule(pick=picks)
    @told
    def crash(self, pick: int) -> None:
        chosen = picked(self.shims(), pick)
        if chosen is None:
            return
        engine = self.app.tree(chosen)[0]
        os.kill(engine, signal.SIGKILL)
        self.until_failed(chosen, "crashed", "start_failed")

    @rule(pick=picks)
    @told
    def kill_shim(self, pick: int) -> None:
        shims = self.shims()
        chosen = picked(shims, pick)
        if chosen is None:
            return
        os.kill(shims[chosen], signal.SIGKILL)
        self.until_failed(chosen, "supervisor_lost")

    def until_failed(self, key: str, *causes: str) -> None:
        """Or to be started again, of which all else holds that holds of any model."""
        if self.app.settings.restart != "never":
            return
        until(lambda: self.entries()[key]["state"] == "failed", f"{key} to fail", DEADLINE_S)
        assert self.entries()[key]["error"]["cause"] in causes

    @rule(pause_s=pauses)
    @told
    def kill_application(self, pause_s: float) -> None:
        before, shims = self.live(), self.shims()
        self.check_history()
        self.app.kill()
        time.sleep(pause_s)
        self.start()
        self.compare(before, shims)

    @rule(pick=picks)
    @told
    def kill_application_and_shim(self, pick: int) -> None:
        before, shims = self.live(), self.shims()
        chosen = picked(shims, pick)
        if chosen is None:
            return
        self.check_history()
        self.app.kill()
        os.kill(shims[chosen], signal.SIGKILL)
        self.start()
        assert self.entries()[chosen]["error"]["cause"] == "supervisor_lost"
        del before[chosen], shims[chosen]
        self.compare(before, shims)

    @rule()
    @told
    def quit_and_come_back(self) -> None:
        before = self.live()
        self.check_history()
        assert self.app.terminate() == 0
        self.start()
        self.compare(before, before)

    def compare(self, before: dict[str, Any], supervised: dict[str, Any]) -> None:
        """All that had a supervisor are there, with their port and key; what had none yet may never have begun."""
        now = self.live()
        assert set(supervised) <= set(now) <= set(before)
        for key, entry in now.items():
            assert [entry[name] for name in ("model_id", "port", "api_key")] == [
                before[key][name] for name in ("model_id", "port", "api_key")
            ]

    def teardown(self) -> None:
        if not hasattr(self, "app"):
            return
        try:
            for key in self.entries():
                self.app.stop(key)
            self.check_history()
            assert self.app.terminate() == 0
            until(lambda: not processes_of(self.home), "the shims to go", DEADLINE_S)
            assert "Traceback" not in self.app.errors
            assert not list(self.app.paths.runtime.glob("*.sock"))
        finally:
            self.app.close()
            shutil.rmtree(self.home)


TestFaultWalk = Walk.TestCase
TestFaultWalk.settings = settings(
    max_examples=WALKS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),  # a walk with real processes is told as it was, not made shorter for hours
)
TestFaultWalk.pytestmark = [pytest.mark.timeout(600)]
