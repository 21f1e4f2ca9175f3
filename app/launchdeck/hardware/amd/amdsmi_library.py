"""AMD's management library: finding its Python module, and the one place where its errors become missing readings."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from launchdeck.domain.detection import Outcome
from launchdeck.domain.text import Message
from launchdeck.hardware.detector import Complaints

logger = logging.getLogger(__name__)

_NOT_SUPPORTED = 2
_NO_PERMISSION = 10
_NO_READING = 0xFFFF
NOT_AVAILABLE = "N/A"  # what AMD's module gives for a value that the GPU does not have


class AmdSmi:
    """The opened library. `card` is only a name for the log; handles are the library's own."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._rocm = Path(environ.get("ROCM_HOME") or environ.get("ROCM_PATH") or "/opt/rocm")
        self._module: ModuleType | None = None
        self._missing = False
        self._complaints = Complaints()

    @property
    def is_open(self) -> bool:
        return self._module is not None

    def open(self) -> tuple[Outcome, Message] | None:
        """None: it is open. Else what is wrong, in words."""
        module = None if self._missing else _import(self._rocm / "share/amd_smi")
        if module is None:
            self._missing = True  # looking for it takes a while: that is done again after `close` only
            return Outcome.NOT_INSTALLED, Message("AMD's library (amdsmi, a part of ROCm) is not installed.")
        try:
            module.amdsmi_init(module.AmdSmiInitFlags.INIT_AMD_GPUS)
        except Exception as error:  # noqa: BLE001 (whatever the library does, the other vendors' GPUs are shown)
            return Outcome.FAILED, _reason(error)
        self._module = module
        return None

    def close(self) -> None:
        if self._module is not None:
            self.ask("", "amdsmi_shut_down")
            self._module = None
        self._missing = False

    def constant(self, kind: str, name: str) -> Any:
        """A member of one of the module's enumerations: the library takes no plain numbers. None: it has no such."""
        return getattr(getattr(self._module, kind, None), name, None)

    def ask(self, card: str, call: str, *arguments: Any) -> Any:
        """The result of the module's function `call`; None where the GPU has none, which is logged once.

        Every reading is asked for alone: the activity of an integrated GPU fails while all else works.
        """
        try:
            answer = getattr(self._module, call)(*arguments)
        except Exception as error:  # noqa: BLE001 (the choke point: this module raises AttributeError and KeyError, too)
            code = _code(error)
            is_usual = code == _NOT_SUPPORTED or isinstance(error, AttributeError)  # an old module lacks functions
            level = logging.DEBUG if is_usual else logging.WARNING
            self._complaints.log(level, (card, call, str(code)), f"{card or 'amdsmi'}: no {call}: {_line(error)}")
            return None
        return None if answer == NOT_AVAILABLE else answer

    def number(self, card: str, call: str, arguments: tuple[Any, ...], *keys: str) -> int | None:
        """The first of these keys that is a reading in the dictionary that `call` gives.

        0xFFFF and above is how the hardware says that it has none; not every release of the module knows that.
        """
        answer = self.record(card, call, *arguments)
        numbers = (as_number(answer.get(key)) for key in keys)
        return next((number for number in numbers if number is not None and number < _NO_READING), None)

    def text(self, card: str, call: str, handle: Any, key: str) -> str | None:
        """A text in the dictionary that `call` gives."""
        answer = self.record(card, call, handle).get(key)
        return answer if isinstance(answer, str) and answer not in {"", NOT_AVAILABLE} else None

    def record(self, card: str, call: str, *arguments: Any) -> dict[str, Any]:
        """The dictionary that `call` gives; empty where the GPU has none."""
        answer = self.ask(card, call, *arguments)
        return answer if isinstance(answer, dict) else {}


def as_number(value: object) -> int | None:
    """A reading as the module gives it; any of them can be "N/A"."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value)


def _import(rocm_module: Path) -> ModuleType | None:
    """ROCm's own module, which fits its library, and then the package's. Their import prints what goes wrong."""
    for folder in (rocm_module, None):
        printed = io.StringIO()
        try:
            with _printing_to(printed), _first_on_path(folder):
                return importlib.import_module("amdsmi")
        except Exception as error:  # noqa: BLE001 (KeyError without the library, AttributeError with an old one)
            logger.debug("amdsmi from %s: %r %s", folder or "the package", error, printed.getvalue())
            for name in [name for name in list(sys.modules) if name.split(".")[0] == "amdsmi"]:  # a copy: others import
                del sys.modules[name]
    return None


class _Divided(io.TextIOBase):
    """Standard output, but for one thread: an import that hangs must not swallow what the others print."""

    def __init__(self, thread_id: int, printed: io.StringIO, usual: TextIO) -> None:
        self._thread_id, self._printed, self._usual = thread_id, printed, usual

    def write(self, text: str) -> int:
        return (self._printed if threading.get_ident() == self._thread_id else self._usual).write(text)

    def flush(self) -> None:
        self._usual.flush()

    def fileno(self) -> int:
        return self._usual.fileno()

    def isatty(self) -> bool:
        return self._usual.isatty()


@contextlib.contextmanager
def _printing_to(printed: io.StringIO) -> Iterator[None]:
    """Collect what this thread prints."""
    with contextlib.redirect_stdout(_Divided(threading.get_ident(), printed, sys.stdout)):
        yield


@contextlib.contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    if folder is None or not folder.is_dir():
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _reason(error: Exception) -> Message:
    if _code(error) == _NO_PERMISSION:
        return Message("The AMD driver refuses access. Add this user to the groups render and video.")
    return Message("AMD's library does not answer: {error}.", error=_line(error))


def _code(error: Exception) -> Any:
    return getattr(error, "err_code", type(error).__name__)


def _line(error: Exception) -> str:
    """The library's messages are laid out over several lines."""
    return " ".join(str(error).split())
