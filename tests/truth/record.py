"""Records what each build of llama.cpp says to the tests that ask it, in place of what was recorded before.

    python tests/truth/record.py FOLDER-WITH-B10605 FOLDER-WITH-B11434 [--add TEST ...]

Runs those tests against the engines in the folders. The result is the same whenever the engines and the tests are:
look at what changed in tests/data/truth/summary.json before keeping it, since known differences are recorded anew too.
With --add, what the named tests ask is recorded besides what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "app")]

from truth.build import missing  # noqa: E402
from truth.engine import VERSIONS, build_of  # noqa: E402
from truth.recording import SUMMARY, Recording, path_of  # noqa: E402

ASKING = ("unit/planning", "unit/engines/test_plan.py")


def main() -> int:
    """Record every build, or nothing where one is missing or a test fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--add", nargs="+", metavar="TEST", type=Path)
    options = parser.parse_args()
    folders = [folder.absolute() for folder in options.folders]
    asking = [TESTS / name for name in ASKING] if options.add is None else options.add
    if lacking := missing(folders):
        sys.exit(f"Not there: {', '.join(lacking)}")
    absent = VERSIONS.keys() - {build_of(folder) for folder in folders}
    if absent:
        sys.exit(f"No folder has the build {', '.join(sorted(absent))}. Give the folders of all: {', '.join(VERSIONS)}")
    with tempfile.TemporaryDirectory() as recorded:
        if options.add is not None:
            for build in VERSIONS:
                shutil.copyfile(path_of(build), path_of(build, recorded))
        environment = {
            **os.environ,
            "LAUNCHDECK_TEST_BIN": os.pathsep.join(map(str, folders)),
            "LAUNCHDECK_RECORD_TRUTH": recorded,
        }
        command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:xdist", *map(str, asking)]
        if status := subprocess.call(command, env=environment, cwd=TESTS.parent):
            return status
        for build in VERSIONS:
            shutil.copyfile(path_of(build, recorded), path_of(build))
    SUMMARY.write_text(
        json.dumps({build: Recording.of(path_of(build)).summary() for build in VERSIONS}, indent=4) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
