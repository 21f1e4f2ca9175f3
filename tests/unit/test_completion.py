"""Completions and the man page: made from the parser, so that they know every option."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from launchdeck.commands.completion import bash, commands_of, fish, zsh
from launchdeck.commands.parser import COMMANDS, build_parser

ALL = tuple(commands_of(build_parser()))
MAN = Path(__file__).parents[2] / "packaging" / "man.py"


def completed(*words: str) -> set[str]:
    """What bash offers for the last word."""
    script = (
        f"{bash(ALL)}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        '_launchdeck; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert result.stderr == ""
    return set(result.stdout.split())


def test_bash_completes_commands_options_and_choices() -> None:
    assert completed("launchdeck", "sta") == {"status"}
    assert set(COMMANDS) <= completed("launchdeck", "")
    assert completed("launchdeck", "plan", "--cache-type-") == {"--cache-type-k", "--cache-type-v"}
    assert completed("launchdeck", "plan", "--backend", "v") == {"vllm"}
    assert completed("launchdeck", "deploy", "--no-w") == {"--no-wait"}
    assert {"bash", "zsh", "fish"} <= completed("launchdeck", "completion", "")
    assert completed("launchdeck", "--inventory", "/etc/host") >= {"/etc/hosts"}
    assert completed("launchdeck", "plan", "--inventory", "/etc/host") >= {"/etc/hosts"}
    assert completed("launchdeck", "--api-port", "0", "ser") == {"serve"}


def test_bash_completes_the_names_of_what_is_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "launchdeck"
    program.write_text('#!/bin/sh\n[ "$*" = "status --names" ] && printf "smol\\nqwen3-8b\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for command in ("stop", "logs"):
        assert completed("launchdeck", command, "qw") == {"qwen3-8b"}
        assert completed("launchdeck", command, "") >= {"smol", "qwen3-8b", "--json"}
    assert "smol" not in completed("launchdeck", "deploy", "sm")


@pytest.mark.parametrize("shell", [zsh, fish])
def test_the_other_shells_know_every_option(shell: object) -> None:
    text = shell(ALL)  # type: ignore[operator]
    for command in ALL:
        assert command.name in text
        for option in command.options:
            for flag in option.flags:
                assert (flag if shell is zsh else f" {'-l' if flag[1] == '-' else '-s'} {flag.lstrip('-')} ") in text
    interpreter = shutil.which("zsh" if shell is zsh else "fish")
    if interpreter is not None:
        subprocess.run([interpreter, "-n"], input=text, text=True, check=True, timeout=30)


def test_the_man_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("man", MAN)
    assert spec is not None
    assert spec.loader is not None
    man = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(man)
    page = man.PAGE.read_text(encoding="utf-8")
    assert page == man.render(build_parser()), "write it again: python packaging/man.py"
    if shutil.which("man") is not None:
        shown = subprocess.run(["man", "-l", str(man.PAGE)], capture_output=True, text=True, check=True, timeout=30)
        assert "launchdeck serve" in shown.stdout
    if shutil.which("mandoc") is not None:
        subprocess.run(["mandoc", "-T", "lint", "-W", "style", str(man.PAGE)], check=True, timeout=30)


def test_the_man_page_has_every_word_of_the_help() -> None:
    page = (MAN.parent / "launchdeck.1").read_text(encoding="utf-8").replace("\\-", "-").replace("\n", " ")
    for command in ALL:
        for option in command.options:
            assert option.value in page
            assert option.meaning[1:] in page
        for operand in command.operands:
            assert operand.usage in page
            assert operand.meaning[1:] in page
