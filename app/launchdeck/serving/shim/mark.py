"""The mark of what a shim starts: two variables of its environment, which children inherit. Imported by the shim.

It is how what has lost its parents is told from everybody else's processes: whose id it is, and a random value that
stands in the record of this one launch and nowhere else. `sweeping.py` looks for it.
"""

from __future__ import annotations

import os
import re

ID_NAME = "LAUNCHDECK_DEPLOYMENT"
VALUE_NAME = "LAUNCHDECK_MARK"
VALUE_BYTES = 32
VALUE = re.compile(rf"[0-9a-f]{{{2 * VALUE_BYTES}}}")
"""What every value is, in its whole length: nothing that a damaged record could say by chance."""


def new_value() -> str:
    """Make one that nobody has had before."""
    return os.urandom(VALUE_BYTES).hex()


def variables(deployment_id: str, value: str) -> dict[str, str]:
    """Give what belongs into the environment of everything that this launch starts."""
    return {ID_NAME: deployment_id, VALUE_NAME: value}


def carries(environ: bytes, deployment_id: str, value: str) -> bool:
    """Tell whether an environment, as /proc has it, holds both variables."""
    wanted = {f"{name}={text}".encode() for name, text in variables(deployment_id, value).items()}
    return wanted <= set(environ.split(b"\0"))
