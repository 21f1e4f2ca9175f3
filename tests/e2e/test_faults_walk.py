"""A random walk over load, stop, crash, restart and a new application: nothing illegal happens, nothing is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fakes.serving import PATIENCE_S, Bench, alive, processes_of, until
from launchdeck.domain.deployment import State
from launchdeck.serving.lifecycle import Event, next_state

MOST_MODELS = 4
LEGAL = set()
for state in State:
    for event in Event:
        with suppress(ValueError):
            LEGAL.add((state, next_state(state, event)))


class Walk(RuleBasedStateMachine):
    """Real shims and fake servers; one event loop that every step runs on."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ld-"))
        os.environ["LAUNCHDECK_HOME"] = str(self.home)
        self.loop = asyncio.new_event_loop()
        self.bench = Bench("--load-s", 0.1, last_port=65535)

    def live(self) -> list[str]:
        return [d.id for d in self.bench.manager.deployments if d.state.is_live]

    @precondition(lambda self: len(self.live()) < MOST_MODELS)
    @rule()
    def load(self) -> None:
        self.loop.run_until_complete(self.bench.load())

    @rule(pause_s=st.sampled_from([0.0, 0.05, 0.3]))
    def pass_time(self, pause_s: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(pause_s))

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.live()))
        pids = self.bench.get(chosen).pids
        self.loop.run_until_complete(self.bench.manager.stop(chosen))
        assert not self.bench.get(chosen).state.is_live
        assert not alive(pids)

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.live()))
        again = self.loop.run_until_complete(self.bench.manager.restart(chosen))
        assert chosen not in {d.id for d in self.bench.manager.deployments}
        assert again.state.is_live

    @precondition(lambda self: any(self.bench.get(key).pids for key in self.live()))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from([key for key in self.live() if self.bench.get(key).pids]))
        pids = self.bench.get(chosen).pids
        os.kill(pids[0], signal.SIGKILL)
        self.loop.run_until_complete(self.bench.until_state(chosen, State.FAILED))
        assert not alive(pids)

    @rule()
    def open_again(self) -> None:
        self.check_history()
        before = set(self.live())
        self.loop.run_until_complete(self.bench.manager.close(keep=True))
        self.bench = Bench("--load-s", 0.1, last_port=65535)
        self.loop.run_until_complete(self.bench.manager.adopt())
        assert before == set(self.live())

    def check_history(self) -> None:
        for states in self.bench.history.states.values():
            assert all(step in LEGAL for step in pairwise(states)), states

    def teardown(self) -> None:
        self.loop.run_until_complete(self.bench.manager.close(keep=False))
        self.check_history()
        until(lambda: not processes_of(self.home), "the shims to go", PATIENCE_S)
        self.loop.close()
        shutil.rmtree(self.home)


TestFaultWalk = Walk.TestCase
TestFaultWalk.settings = settings(
    max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFaultWalk.pytestmark = [pytest.mark.timeout(300)]
