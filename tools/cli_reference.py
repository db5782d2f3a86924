"""Writes ``docs/reference/cli.md`` from the commands' own declarations: ``python -m tools.cli_reference``.

It reads the functions that Typer reads, their annotations and their docstrings, and nothing of Typer's insides, which
differ between its versions. A test makes the page and compares it with the committed one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

OUT = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

Written by `python -m tools.cli_reference` from the commands themselves; a test fails where it is stale.

Every command has `--help` (or `-h`). It ends with 0 when all was done, 1 when it ran and lists what failed or differs,
2 when what it was given is wrong, which it says in one sentence on standard error (all of them stand in
[troubleshooting](../troubleshooting.md)), and 130 after Ctrl-C. Tables and JSON go to standard output, progress and
notes to standard error. `SAMEWHERE_HOME` is the folder in which indexes, datasets, models and heads lie; without it, it
is the system's folder for the data of programs.
"""
WORDS = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH", datetime: "DATE", bool: ""}


@dataclass(frozen=True)
class Command:
    """One command: its words, as "samewhere index build", the function behind it, and examples."""

    words: str
    function: Callable[..., Any]
    epilog: str

    @property
    def examples(self) -> list[str]:
        """The command lines of the epilog."""
        several = [one for text in re.split(r"\bExamples:", self.epilog)[1:] for one in text.split(";")]
        return [" ".join(text.split()) for text in several + re.split(r"\bExample:", self.epilog)[1:]]


@dataclass(frozen=True)
class Parameter:
    """One argument or option, in the words of the page."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    is_argument: bool


def commands(app: typer.Typer, words: str = "samewhere") -> Iterator[Command]:
    """Every command of an application, in its order, groups entered where they stand."""
    for one in app.registered_commands:
        if one.callback is None:  # nothing to run, so nothing to describe
            continue
        name = one.name or one.callback.__name__.replace("_", "-")
        yield Command(f"{words} {name}", one.callback, one.epilog or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from commands(group.typer_instance, f"{words} {group.name}")


def groups(app: typer.Typer, words: str = "samewhere") -> Iterator[tuple[str, str]]:
    """The words and the help of every group."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            name = f"{words} {group.name}"
            yield name, str(group.typer_instance.info.help or "")
            yield from groups(group.typer_instance, name)


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The arguments and options of a command's function, in its order."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = _declared(hints[name])
        if info is not None:
            found.append(_parameter(name, kind, info, parameter.default))
    return found


def page(app: typer.Typer) -> str:
    """The whole page."""
    told = dict(groups(app))
    every = sorted(commands(app), key=lambda one: len(one.words.split()) > 2)  # those without a group first
    parts, group = [HEAD], ""
    for one in every:
        words = one.words.rsplit(" ", 1)[0]
        if words in told and words != group:
            parts.append(f"## {words}\n\n{told[words]}\n")
            group = words
        parts.append(_section(one, "###" if words in told else "##"))
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    from app.cli import app

    OUT.write_text(page(app), encoding="utf-8")


def _section(one: Command, level: str) -> str:
    every = parameters(one.function)
    usage = [one.words, *(f"{p.names[0]}" for p in every if p.is_argument), "[OPTIONS]"]
    lines = [f"{level} {one.words}", "", inspect.cleandoc(one.function.__doc__ or ""), "", "```sh", " ".join(usage)]
    lines += [f"# for example\n{text}" for text in one.examples[:1]] + one.examples[1:]
    lines += ["```", "", "| | | without it |", "|---|---|---|"]
    for p in every:
        names = ", ".join(f"`{name}`" for name in p.names) + (f" {p.value}" if p.value else "")
        lines.append(f"| {_cell(names)} | {_cell(p.help)} | {_cell(p.default)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _declared(hint: Any) -> tuple[Any, ParameterInfo | None]:
    """The type of a parameter and what is declared of it; None for what Typer itself hands in."""
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *extras = get_args(hint)
    return kind, next((extra for extra in extras if isinstance(extra, ParameterInfo)), None)


def _parameter(name: str, kind: Any, info: ParameterInfo, default: Any) -> Parameter:
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) in (list, tuple):
        kind = get_args(kind)[0]
    declared = [
        text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)
    ]  # Annotated's first
    names = tuple(part.strip() for text in declared for part in text.split("/"))
    if isinstance(info, ArgumentInfo):
        names = (info.metavar or name.upper(),)
    elif not names and isinstance(info, OptionInfo):
        names = (f"--{name.replace('_', '-')}",)
        names += (f"--no-{names[0][2:]}",) if kind is bool else ()
    return Parameter(
        names=names,
        value="" if isinstance(info, ArgumentInfo) else _value(kind, info),
        help=(info.help or "") + _bounds(info),
        default=_default(default, info, names),
        is_argument=isinstance(info, ArgumentInfo),
    )


def _value(kind: Any, info: ParameterInfo) -> str:
    """What stands behind an option's name."""
    if info.metavar:
        return info.metavar
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in kind)
    return WORDS[kind]


def _bounds(info: ParameterInfo) -> str:
    if info.min is None and info.max is None:
        return ""
    if info.max is None:
        return f" At least {info.min:g}."
    return f" {info.min:g} to {info.max:g}." if info.min is not None else f" At most {info.max:g}."


def _default(default: Any, info: ParameterInfo, names: tuple[str, ...]) -> str:
    if isinstance(info.show_default, str):
        return info.show_default
    if default is inspect.Parameter.empty:
        return "must be given"
    if default is None or default is False:
        return ""
    if default is True:
        return f"`{names[0]}`"
    return f"`{default.value if isinstance(default, Enum) else default}`"


if __name__ == "__main__":
    main()
