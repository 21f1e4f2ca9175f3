"""The variables by which programs choose their Qt binding. In here there is one: what another program wants with them
is nothing for us, and everything for the engines, which are started in the environment that Launchdeck was.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Final

_OURS: Final = {"QT_API": "pyside6", "PYQTGRAPH_QT_LIB": "PySide6"}
_before: dict[str, str] = {}


def choose_pyside6(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have qasync and pyqtgraph use PySide6. Before either is imported, and before there are threads."""
    _before.update({name: environ[name] for name in _OURS if environ.get(name, _OURS[name]) != _OURS[name]})
    environ.update({name: _OURS[name] for name in _OURS if name in environ})


def others_choice() -> dict[str, str]:
    """Give the variables as they were, where another program's choice was taken away."""
    return dict(_before)
