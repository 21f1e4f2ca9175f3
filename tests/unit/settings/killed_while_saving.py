"""Saves settings in a child that is killed at any moment, and reads them again: 200 times. Argument: the file."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore

TIMES = 200
OLD, NEW = (Settings(language=language, model_folders=(f"/{language}",) * 500) for language in ("en", "ko"))


def save_for_ever(store: SettingsStore) -> None:
    while True:
        store.save(NEW)
        store.save(OLD)


def main() -> None:
    store = SettingsStore(Path(sys.argv[1]))
    store.save(OLD)
    chance = random.Random(22)
    for _ in range(TIMES):
        child = os.fork()
        if child == 0:
            save_for_ever(store)
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = SettingsStore(Path(sys.argv[1]))
        assert found.problem is None, found.problem
        assert found.settings in {OLD, NEW}


if __name__ == "__main__":
    main()
