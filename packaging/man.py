"""Write the man page from the parser of the command line: ``python packaging/man.py``."""

import argparse
import sys
from pathlib import Path

PACKAGING = Path(__file__).resolve().parent
PAGE = PACKAGING / "launchdeck.1"
sys.path.insert(0, str(PACKAGING.parent / "app"))

from launchdeck.commands.completion import commands_of  # noqa: E402 (found only now)
from launchdeck.commands.parser import build_parser  # noqa: E402

_FILES = (
    ("config/settings.toml", "Every setting with its meaning; in ~/.config/launchdeck."),
    ("runtime/api-token, runtime/api-url", "Where programs find the running application, and what they have to send."),
)
_VARIABLES = (("LAUNCHDECK_HOME", "A folder that holds all of Launchdeck's folders, instead of the platform's."),)
_STATUS = (("0", "Success."), ("1", "Failure; the reason is on standard error."), ("2", "Wrong usage."))


def render(parser: argparse.ArgumentParser) -> str:
    """Return the page in troff, with everything that ``--help`` says."""
    commands = list(commands_of(parser))
    lines = ['.TH LAUNCHDECK 1 "" Launchdeck', ".SH NAME", "launchdeck \\- deploy language and embedding models"]
    lines += [".SH SYNOPSIS", ".B launchdeck", "[OPTIONS] [COMMAND ...]", ".SH DESCRIPTION", _text(parser.description)]
    for command in commands:
        if command.name:
            lines += [".SH " + _text(f"launchdeck {command.name}"), _text(_sentence(command.meaning))]
        else:
            lines.append(".SH OPTIONS")
        for option in command.options:
            lines += [".TP", ".B " + _text(", ".join(option.flags)), _text(_sentence(option.meaning))]
    for title, entries in (("EXIT STATUS", _STATUS), ("ENVIRONMENT", _VARIABLES), ("FILES", _FILES)):
        lines.append(f".SH {title}")
        for name, meaning in entries:
            lines += [".TP", ".B " + _text(name), _text(meaning)]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _text(text: str | None) -> str:
    """Escape what troff would take for its own."""
    escaped = (text or "").replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    PAGE.write_text(render(build_parser()), encoding="utf-8")
