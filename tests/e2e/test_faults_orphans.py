"""Nothing is left of models whose application and supervisors were killed while they loaded. Faults 2 and 3."""

from __future__ import annotations

import json
import time

import pytest

from e2e.orphans import SETTLED_S, forget_all, kill_all, kill_shims_alone, left_of
from e2e.real_application import WITHOUT_WINDOW, application
from launchdeck.serving.shim.processes import is_alive

pytestmark = pytest.mark.timeout(300)

LIVES_S = (0.15, 0.3, 0.6, 1.0)


@pytest.mark.parametrize("life_s", LIVES_S)
def test_fault_03_the_next_start_leaves_nothing_of_models_that_were_loading(life_s: float) -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        outlived = kill_all(app, life_s)
        app.start(WITHOUT_WINDOW)
        assert left_of(app) == []
        assert not any(map(is_alive, outlived))
        assert {entry["state"] for entry in app.entries()} <= {"failed"}


def test_fault_02_supervisors_that_are_killed_alone_leave_nothing() -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        for life_s in LIVES_S:
            kill_shims_alone(app, life_s)
            assert left_of(app) == []
            forget_all(app)


def test_fault_03_two_homes_do_not_see_each_others_processes() -> None:
    with application() as one, application() as other:
        one.start(WITHOUT_WINDOW)
        other.start(WITHOUT_WINDOW)
        kill_all(one, 0.8)
        kill_all(other, 0.8)
        time.sleep(SETTLED_S)  # the engines end with their supervisors; the workers stay
        neighbours = left_of(other)
        assert neighbours
        one.start(WITHOUT_WINDOW)
        assert left_of(one) == []
        assert all(map(is_alive, neighbours))
        other.start(WITHOUT_WINDOW)
        assert left_of(other) == []


def test_the_mark_is_told_to_nobody() -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        model = app.running("demo", "--say-env", "LAUNCHDECK_MARK")
        value = json.loads((app.paths.records / model["id"] / "record.json").read_text())["mark"]
        told = [
            app.http.get(path).text
            for path in ("/api/inference/loading-status", "/api/inference/logs/demo", "/metrics")
        ]
        assert "LAUNCHDECK_MARK=***" in told[1]
        app.stop("demo")
        app.terminate()
        assert value not in "".join(told) + app.errors
        assert not [
            file for file in app.home.rglob("*") if file.is_file() and value in file.read_text(errors="replace")
        ]
