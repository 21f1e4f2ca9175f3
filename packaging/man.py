"""Write the man page from the parser of the command line: ``python packaging/man.py``."""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGING = Path(__file__).resolve().parent
PAGE = PACKAGING / "launchdeck.1"
DATE: Final = "2026-11-25"
LINE_LENGTH: Final = 70
sys.path.insert(0, str(PACKAGING.parent / "app"))

from launchdeck.commands.completion import Command, commands_of  # noqa: E402 (found only now)
from launchdeck.commands.parser import build_parser  # noqa: E402

_EXAMPLES = (
    ("launchdeck serve &", "Serve without a window; 'launchdeck' opens one later, which takes over."),
    ("launchdeck plan model.gguf --gpu 0 --layers all --ctx 8192", "See what that would take, and whether it fits."),
    ("launchdeck deploy model.gguf --gpu 0 --name assistant", "Start it and wait until it answers."),
    ("launchdeck status --watch", "Look on."),
    (
        "launchdeck gpus --json > machine.json",
        "Record the GPUs; 'launchdeck --inventory machine.json' shows them elsewhere.",
    ),
)
_FILES = (
    ("~/.config/launchdeck/settings.toml", "Every setting with its meaning."),
    ("~/.local/state/launchdeck/", "What runs, its logs, and the history behind the charts."),
    (
        "$XDG_RUNTIME_DIR/launchdeck/api-url, api-token",
        "Where programs find the running application, and the token they send.",
    ),
)
_VARIABLES = (
    (
        "LAUNCHDECK_HOME",
        (
            "A folder that holds config, data, state, cache and runtime, instead of the platform's folders. Nothing is "
            "written anywhere else, but for one thing: where its name is so long that a socket's name has no room "
            "beside it, over about 85 bytes, the sockets of the models' supervisors lie in a private folder in /tmp."
        ),
    ),
    ("NOTIFY_SOCKET", "Where 'launchdeck serve' tells systemd that it is ready."),
)
_STATUS = (
    ("0", "Success."),
    ("1", "Failure; the reason is on standard error, and with --json a document on standard output as well."),
    ("2", "Wrong usage."),
    ("130", "Ended by Ctrl-C, except where that is the only end: --watch and --follow."),
)
_SEE_ALSO = "nvidia-smi(1), rocm-smi(1), systemctl(1), journalctl(1)"


def render(parser: argparse.ArgumentParser) -> str:
    """Return the page in troff, with everything that ``--help`` says."""
    general, *commands = commands_of(parser)
    lines = [f'.TH LAUNCHDECK 1 "{DATE}" "Launchdeck" "User Commands"']
    lines += [".SH NAME", "launchdeck \\- deploy language and embedding models on your own GPUs", ".SH SYNOPSIS"]
    lines += [*_usage(general), *(line for command in commands for line in (".br", *_usage(command)))]
    lines += [".SH DESCRIPTION", *_prose(parser.description or ""), ".SH OPTIONS", *_options(general), ".SH COMMANDS"]
    for command in commands:
        lines += [f".SS launchdeck {command.name}", *_prose(_sentence(command.meaning)), *_options(command)]
    entries = (("EXAMPLES", _EXAMPLES), ("EXIT STATUS", _STATUS), ("ENVIRONMENT", _VARIABLES), ("FILES", _FILES))
    for title, pairs in entries:
        lines.append(f".SH {title}")
        for name, meaning in pairs:
            lines += [".TP", ".B " + _text(name), *_prose(meaning)]
    return "\n".join([*lines, ".SH SEE ALSO", _text(_SEE_ALSO)]) + "\n"


def _usage(command: Command) -> list[str]:
    name = f"launchdeck {command.name}".rstrip()
    operands = " ".join(operand.usage for operand in command.operands)
    return [f".B {name}", _text(f"[OPTION ...] {operands}".rstrip())]


def _options(command: Command) -> Iterator[str]:
    """What stands behind the command's name, each with its value and its meaning."""
    for operand in command.operands:
        yield from (".TP", ".I " + _text(operand.name), *_prose(_sentence(operand.meaning)))
    for option in command.options:
        flags = "\\fR, \\fB".join(_text(flag) for flag in option.flags)
        value = f" \\fI{_text(option.value)}" if option.value else ""
        yield from (".TP", f"\\fB{flags}{value}\\fR", *_prose(_sentence(option.meaning)))


def _prose(text: str) -> list[str]:
    """In lines of a length that mandoc likes."""
    return [_text(line) for line in textwrap.wrap(text, LINE_LENGTH)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _text(text: str | None) -> str:
    """Escape what troff would take for its own."""
    escaped = (text or "").replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    PAGE.write_text(render(build_parser()), encoding="utf-8")
