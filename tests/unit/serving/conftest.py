from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.serving import end_all, processes_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_process_left(launchdeck_home: Path) -> Iterator[None]:
    """Whatever a test does, nothing it started may outlive it."""
    yield
    try:
        until(lambda: not processes_of(launchdeck_home), "the shims to go")
    finally:
        left = end_all(launchdeck_home)
    assert not left
