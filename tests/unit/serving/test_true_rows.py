"""A row says how its model stands, whatever the disk does while that changes."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.serving import Bench, kill, shim_of
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.settings.paths import Paths


def folder_becomes_a_file(folder: Path) -> None:
    """ENOTDIR for everything below it: root is refused as well."""
    folder.rename(folder.with_name(f"{folder.name}-moved"))
    folder.write_text("no folder")


def folder_leads_round_in_a_circle(folder: Path) -> None:
    """ELOOP."""
    folder.rename(folder.with_name(f"{folder.name}-moved"))
    folder.symlink_to(folder)


@pytest.mark.parametrize("harm", [folder_becomes_a_file, folder_leads_round_in_a_circle])
@pytest.mark.parametrize("folder", ["runtime", "records"])
def test_a_model_whose_supervisor_dies_while_the_disk_is_away_is_failed(
    folder: str, harm: Callable[[Path], None]
) -> None:
    """It used to stay "running" for ever."""

    async def scenario() -> None:
        bench = Bench()
        deployment = await bench.running()
        harm(getattr(Paths.resolve(), folder))
        kill(shim_of(deployment.pids[0]))
        failed = await bench.until_state(deployment.id, State.FAILED)
        assert failed.failure is not None
        assert failed.failure.cause is Cause.SUPERVISOR_LOST
        await bench.manager.close(keep=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", [folder_becomes_a_file, folder_leads_round_in_a_circle])
def test_a_model_that_ends_while_the_disk_is_away_says_how_it_ended(harm: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        bench = Bench()
        deployment = await bench.running()
        records = Paths.resolve().records
        harm(records)
        kill(deployment.pids[0])
        failed = await bench.until_state(deployment.id, State.FAILED)
        assert failed.exit is not None
        assert failed.exit.signal == 9
        records.unlink()
        shutil.move(f"{records}-moved", records)
        await bench.manager.close(keep=True)

    asyncio.run(scenario())


@pytest.mark.expects_log_errors
def test_a_mistake_while_an_end_is_cleared_up_is_told_in_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is, here the look for what is left."""

    async def scenario() -> None:
        bench = Bench()
        deployment = await bench.running()

        def broken(*_: object) -> list[tuple[int, int]]:
            raise OSError(errno.EMFILE, "Too many open files")

        shim = shim_of(deployment.pids[0])
        monkeypatch.setattr(bench.manager, "clear", broken)
        kill(shim)
        failed = await bench.until_state(deployment.id, State.FAILED)
        assert "Too many open files" in str(failed.failure)
        await bench.manager.close(keep=True)

    asyncio.run(scenario())
