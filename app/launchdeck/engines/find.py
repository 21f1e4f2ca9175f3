"""The engines of this machine, in the order in which they are preferred."""

from __future__ import annotations

import logging

from launchdeck.engines import registry
from launchdeck.engines.engine import FoundEngines
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)


def find_engines(settings: Settings, paths: Paths) -> FoundEngines:
    """Find what each family has here: those of the settings first, those got through Launchdeck, those on PATH, those
    that came along. What lies where nothing answers is left out, and told.

    Starts each program for a moment, so it belongs into a worker thread.
    """
    found = [engine.find(settings, paths) for engine in registry.ENGINES]
    problems = tuple(problem for one in found for problem in one.problems)
    for problem in problems:
        logger.warning("%s", problem)
    return FoundEngines(tuple(engine for one in found for engine in one.engines), problems)
