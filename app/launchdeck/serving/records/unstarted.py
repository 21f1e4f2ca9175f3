"""Launches that have no shim yet, written down so that none is lost without a word when the application is killed.

Each lies where its shim's record is going to be, and counts as long as it lies there alone: a shim has more to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import DEPLOYMENT_ID, Deployment, State
from launchdeck.domain.limits import UnixSeconds
from launchdeck.domain.plan import LaunchPlan
from launchdeck.engines.registry import engine_of
from launchdeck.files.json_file import JsonFile
from launchdeck.serving.failures import not_begun
from launchdeck.serving.records.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAUNCH_NAME: Final = "launch.json"


@dataclass(frozen=True, slots=True)
class _Launch:
    created_at_s: UnixSeconds
    plan: LaunchPlan


def note_launch(records: Path, deployment: Deployment) -> None:
    """Write it down. That this is not possible costs no launch. Touches the disk."""
    launch = _Launch(deployment.created_at_s, deployment.plan)
    JsonFile(records / deployment.id / LAUNCH_NAME).write_if_possible(to_json(launch))


def is_unstarted(folder: Path) -> bool:
    """Tell whether nothing but a launch lies in a deployment's folder. Touches the disk."""
    try:
        return not folder.is_symlink() and [place.name for place in folder.iterdir()] == [LAUNCH_NAME]
    except OSError:
        return False


def read_unstarted(records: Path) -> Iterator[Deployment]:
    """Give what an earlier run of the application was to start and did not come to. Touches the disk."""
    try:
        folders = sorted(records.iterdir())
    except OSError:  # whoever reads the records tells of it
        return
    for folder in folders:
        if not DEPLOYMENT_ID.fullmatch(folder.name) or not is_unstarted(folder):
            continue
        file = JsonFile(folder / LAUNCH_NAME)
        document = file.read()
        try:
            launch: _Launch = from_json(_Launch, document)
            engine_of(launch.plan.engine.kind)
        except ValueError as error:
            if file.problem is None:
                file.set_aside(error)
            continue
        failure = not_begun(launch.plan.model_id)
        yield Deployment(folder.name, launch.plan, State.FAILED, launch.created_at_s, failure=failure)
