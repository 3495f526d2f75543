"""`completion`: a script for the shell that completes commands, options, boundaries and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from coordexp_audit_lib.cli.streams import say

SHELLS = ("bash", "zsh", "tcsh")


def declare(add: Callable[..., Any]) -> None:
    """Declare the command."""
    parser = add("completion", _print, "print a script that completes this command line in a shell")
    parser.add_argument("shell", choices=SHELLS, help="load it as in: source <(coordexp-audit completion bash)")


def _print(arguments: argparse.Namespace) -> int:
    import shtab

    from coordexp_audit_lib.cli.commands import _parser

    parser = _parser()
    for action in _actions(parser):
        if action.type is Path or action.metavar in ("FILE", "PATH") or action.dest in ("target", "python"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    say(shtab.complete(parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
