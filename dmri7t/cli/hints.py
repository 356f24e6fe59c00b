"""A parser whose mistakes are one line, with what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from dmri7t.cli.help import examples, rich_formatter
from dmri7t.cli.messages import complain

_CHOICE = r".*invalid choice: '(.*?)' \(choose from (.*)\)"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Ask whether a similar word was meant; empty where none is.

    Examples
    --------
    >>> did_you_mean("--participant-lable", ["--participant-label", "--mem"])
    '; did you mean --participant-label?'
    >>> did_you_mean("xyz", ["--mem"])
    ''
    """
    by_form: dict[str, str] = {}
    for name in words:
        by_form.setdefault(name.lower().replace("_", "-"), name)
    close = difflib.get_close_matches(word.lower().replace("_", "-"), by_form, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(by_form[name] for name in close)}?" if close else ""


def split_labels(text: str, prefix: str) -> list[str]:
    """Read labels that are joined by commas or spaces, with or without a prefix.

    Examples
    --------
    >>> split_labels("sub-01,02 03", "sub-")
    ['01', '02', '03']
    """
    return [word.removeprefix(prefix) for word in re.split(r"[,\s]+", text) if word]


class Labels(argparse.Action):
    """Gathers labels of one or several words, each of one or several labels."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        lists: Sequence[Sequence[str]] = values or ()
        flat = [label for labels in lists for label in labels]
        if not flat:
            parser.error(f"argument {option_string}: expected at least one label")
        setattr(namespace, self.dest, flat)


class HintingParser(argparse.ArgumentParser):
    """A parser that names what was probably meant instead of printing its usage."""

    def format_help(self) -> str:
        """Lay help out."""
        self.formatter_class = rich_formatter()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print one line and end with exit code 2."""
        hint = ""
        if match := re.match(r"unrecognized arguments: (.*)", message, re.DOTALL):
            words = match[1].split()
            word = next((w for w in words if w.startswith("-")), words[0] if words else "")
            message = f"{' '.join(words)}: not understood"
            if word.startswith("-"):
                message = f"{word.partition('=')[0]}: no such option"
                hint = did_you_mean(word.partition("=")[0], self._options())
        elif match := re.match(_CHOICE, message, re.DOTALL):
            hint = did_you_mean(match[1], re.findall(r"'(.*?)'", match[2]))
        complain(f"{message.rstrip('.')}{hint or '.'} See {self.prog} --help", self.prog)
        sys.exit(2)

    def _options(self) -> list[str]:
        names = [name for action in self._actions for name in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    names += parser._options()
        return names


def add_verb(
    verbs: argparse._SubParsersAction, name: str, text: str, *commands: str
) -> argparse.ArgumentParser:
    """Add a verb to a command.

    Parameters
    ----------
    verbs : subparsers
    name : str
    text : str
        What it does, for the list of verbs and its own help.
    commands : str
        Examples.
    """
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=examples(*commands),
    )
