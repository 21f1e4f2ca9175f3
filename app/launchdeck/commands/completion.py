"""`launchdeck completion SHELL`: a script for bash, zsh or fish, made from the parser that reads the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from launchdeck.commands.output import print_line
from launchdeck.commands.parser import build_parser

_DEPLOYMENT = "ID"
_ASK_NAMES = "launchdeck status --names 2>/dev/null"


@dataclass(frozen=True, slots=True)
class Option:
    """`flags` with their dashes; `choices` are empty where anything may follow, None where nothing does.

    `value` is what a usage line calls that which follows.
    """

    flags: tuple[str, ...]
    meaning: str
    choices: tuple[str, ...] | None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """A word without dashes; `usage` has brackets where it may be left out."""

    name: str
    usage: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Command:
    """`name` is empty for what stands before any command."""

    name: str
    meaning: str
    options: tuple[Option, ...]
    operands: tuple[Operand, ...] = ()

    @property
    def takes_deployment(self) -> bool:
        return any(operand.name == _DEPLOYMENT for operand in self.operands)


def run(options: argparse.Namespace) -> int:
    """Print the script; how to use it is its first line."""
    commands = tuple(commands_of(build_parser()))
    print_line({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](commands))
    return 0


def commands_of(parser: argparse.ArgumentParser) -> Iterator[Command]:
    """What there is to complete: first the options without a command, then every command."""
    yield Command("", "", tuple(_options(parser)))
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 (argparse has no public name for it)
            meanings = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield Command(name, meanings[name], tuple(_options(command)), tuple(_operands(command)))


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in _actions(parser):
        if action.option_strings:
            choices = None if action.nargs == 0 else tuple(map(str, action.choices or ()))
            value = "" if choices is None else str(action.metavar or "|".join(choices))
            yield Option(tuple(action.option_strings), action.help or "", choices, value)


def _operands(parser: argparse.ArgumentParser) -> Iterator[Operand]:
    for action in _actions(parser):
        if not action.option_strings:
            name = str(action.metavar or "|".join(map(str, action.choices or ())))
            usage = {"*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)
            yield Operand(name, usage, action.help or "")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 (argparse tells no other way what it knows)


def bash(commands: tuple[Command, ...]) -> str:
    """Options and commands where a word begins so, what is deployed where that is meant, files elsewhere."""
    names = " ".join(command.name for command in commands if command.name)
    options = [option for command in commands for option in command.options]
    values = {flag: option.choices for option in options for flag in option.flags if option.choices}
    others = dict.fromkeys(flag for option in options if option.choices == () for flag in option.flags)
    lines = [
        "# source <(launchdeck completion bash)",
        "_launchdeck() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= files= words= word",
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        f"        case $word in {names.replace(' ', '|')}) command=$word; break;; esac",
        "    done",
        "    case $previous in",
        *(f'        {flag}) words="{" ".join(choices)}";;' for flag, choices in values.items()),
        f"        {'|'.join(others)}) files=yes;;",
        "        *) files=$command; case $command in",
    ]
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        pattern, words = (command.name, flags) if command.name else ('""', f"{names} {flags}")
        if command.name == "completion":
            words += " bash zsh fish"
        if command.takes_deployment:
            words += f" $({_ASK_NAMES})"
        lines.append(f'            {pattern}) words="{words}";;')
    lines += [
        "        esac;;",
        "    esac",
        '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
        '    [[ -z $files ]] || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$current")',
        "}",
        "complete -o filenames -F _launchdeck launchdeck",
    ]
    return "\n".join(lines)


def zsh(commands: tuple[Command, ...]) -> str:
    """`_arguments` for every command, with the meanings beside."""
    lines = ["#compdef launchdeck", "# launchdeck completion zsh > a file named _launchdeck in a folder of $fpath"]
    lines += ["_launchdeck() {", "    local context state line", "    typeset -A opt_args"]
    for command in commands:
        specs = [_zsh_spec(option) for option in command.options]
        if not command.name:
            names = " ".join(f"'{one.name}:{_zsh_text(one.meaning)}'" for one in commands if one.name)
            lines += [f"    local -a commands=({names})"]
            lines += ["    _arguments -C \\", *(f"        {spec} \\" for spec in specs)]
            lines += ["        '1: :{_describe command commands}' '*:: :->rest'", "    case $line[1] in"]
        else:
            rest = "'*:shell:(bash zsh fish)'" if command.name == "completion" else "'*:file:_files'"
            if command.takes_deployment:
                rest = f'"*:model:($({_ASK_NAMES}))"'
            lines.append(f"        {command.name}) _arguments {' '.join([*specs, rest])};;")
    return "\n".join([*lines, "    esac", "}", '_launchdeck "$@"'])


def _zsh_spec(option: Option) -> str:
    value = (
        "" if option.choices is None else f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    )
    return " ".join(f"'{flag}[{_zsh_text(option.meaning)}]{value}'" for flag in option.flags)


def _zsh_text(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def fish(commands: tuple[Command, ...]) -> str:
    """One line an option, as fish has it."""
    names = " ".join(command.name for command in commands if command.name)
    lines = ["# launchdeck completion fish > ~/.config/fish/completions/launchdeck.fish"]
    for command in commands:
        condition = f"__fish_seen_subcommand_from {command.name}"
        if not command.name:
            condition = f"not __fish_seen_subcommand_from {names}"
        else:
            before = f"-n 'not __fish_seen_subcommand_from {names}'"
            lines.append(f"complete -c launchdeck -f {before} -a {command.name} -d '{_fish_text(command.meaning)}'")
        lines += [_fish_line(condition, option) for option in command.options]
        if command.takes_deployment:
            lines.append(f"complete -c launchdeck -f -n '{condition}' -a '({_ASK_NAMES})'")
    lines.append("complete -c launchdeck -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'")
    return "\n".join(lines)


def _fish_line(condition: str, option: Option) -> str:
    words = [f"complete -c launchdeck -n '{condition}'"]
    words += [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    if option.choices is not None:
        words.append(f"-x -a '{' '.join(option.choices)}'" if option.choices else "-r")
    return " ".join([*words, f"-d '{_fish_text(option.meaning)}'"])


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
