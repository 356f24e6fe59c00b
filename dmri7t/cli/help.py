"""Help of the commands: grouped, coloured on a terminal, with defaults and examples; completion."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
"""Shells whose completion can be printed."""


def examples(*commands: str, more: str = "") -> str:
    """End of a help: commands to copy, and a last word.

    Examples
    --------
    >>> print(examples("dmri7t data out participant"))
    Examples:
      dmri7t data out participant
    """
    lines = ["Examples:", *(f"  {command}" for command in commands)]
    return "\n".join([*lines, *(["", more] if more else [])])


def told(action: argparse.Action) -> str:
    """What the help says of an argument, its default included.

    Examples
    --------
    >>> told(argparse.ArgumentParser().add_argument("--seed", default=0, help="of the noise"))
    'of the noise (default: %(default)s)'
    >>> told(argparse.ArgumentParser().add_argument("--pool", help="folder of examples"))
    'folder of examples (default: none)'
    """
    text = action.help or ""
    flag = not action.option_strings or action.nargs == 0
    if flag or "default" in text or action.default is argparse.SUPPRESS:
        return text
    if action.default is None or action.default in ("", []):
        return f"{text} (default: none)".strip()
    if isinstance(action.default, list | tuple):
        values = " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in action.default)
        return f"{text} (default: {values.replace('%', '%%')})".strip()
    return f"{text} (default: %(default)s)".strip()


def rich_formatter() -> type[argparse.HelpFormatter]:
    """The class that lays help out; its library is loaded where help is asked for."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        # brackets in our texts are brackets
        help_markup = text_markup = False
        highlights = [
            *RawDescriptionRichHelpFormatter.highlights,
            r"(?m)^(?P<groups>Examples:|Exit codes:)",
        ]

        @staticmethod
        def group_name_formatter(name: str) -> str:  # type: ignore[override]  # declared unbound
            return name[:1].upper() + name[1:]

        def _get_help_string(self, action: argparse.Action) -> str:
            return told(action)

    return Formatter


class PrintCompletion(argparse.Action):
    """Prints a shell's script of completion, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        import shtab

        for action in _all_actions(parser):
            if action.type is Path:
                folder = str(action.metavar or action.dest).upper().endswith("DIR")
                action.complete = (  # type: ignore[attr-defined]
                    shtab.DIRECTORY if folder else shtab.FILE
                )
        print(shtab.complete(parser, str(values)))
        parser.exit()


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints a script of completion."""
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        default=argparse.SUPPRESS,
        help="print a script with which the shell completes options of this command, and stop",
    )


def _all_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                found += _all_actions(verb)
    return found
