"""Options of the command line from a TOML file; what the command line says goes first."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from dmri7t.cli.hints import Labels, did_you_mean
from dmri7t.errors import InputError
from dmri7t.io.texts import read_text

_NOT_FROM_FILE = (
    "help",
    "version",
    "print_completion",
    "config_file",
    "bids_dir",
    "out_dir",
    "analysis_level",
)


def apply_config(parser: argparse.ArgumentParser, path: Path) -> None:
    """Make the values of a file the defaults of a parser.

    Keys are names of options, with underscores or dashes, at the top or within any table: the
    tables of fMRIPrep's files (``[execution]``, ``[nipype]``) only group them.

    Parameters
    ----------
    parser : ArgumentParser
    path : Path

    Raises
    ------
    InputError
        If the file cannot be read, or a key or a value is none of the parser's.

    Examples
    --------
    >>> import tempfile
    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("--n-procs", type=int)
    >>> with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
    ...     _ = file.write("[nipype]\\nn_procs = 3\\n")
    ...     file.flush()
    ...     apply_config(parser, file.name)
    >>> parser.parse_args([]).n_procs, parser.parse_args(["--n-procs", "5"]).n_procs
    (3, 5)
    """
    try:
        content = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error}); mend it.") from error
    values: dict[str, Any] = {}
    for key, value in content.items():
        values.update(value if isinstance(value, dict) else {key: value})
    actions: dict[str, argparse.Action] = {}
    for action in parser._actions:
        if action.dest not in _NOT_FROM_FILE:
            names = [option.lstrip("-") for option in action.option_strings]
            actions |= {name.replace("-", "_"): action for name in (action.dest, *names)}
    defaults = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in actions:
            hint = did_you_mean(name, actions) or "; keys are the names of options."
            raise InputError(f"{path}: unknown key {key}{hint}")
        defaults[actions[name].dest] = _convert(path, key, actions[name], value)
    parser.set_defaults(**defaults)


def _convert(path: Path, key: str, action: argparse.Action, value: Any) -> Any:
    """Read a value as the option itself would read its words."""
    if action.nargs == 0:
        counts = isinstance(action.default, int) and action.const is None
        if type(value) is not (int if counts else bool):
            expected = "a number" if counts else "true or false"
            raise InputError(f"{path}: {key} must be {expected}; mend it.")
        return value
    several = action.nargs in ("+", "*")
    if isinstance(value, list) and not several and action.nargs is not None:
        raise InputError(f"{path}: {key} takes one value; mend it.")
    words = value if isinstance(value, list) else [value]
    if action.nargs is None and isinstance(value, list):
        # such as three voxel sizes
        words = [",".join(map(str, value))]
    if not all(isinstance(word, (str, int, float)) for word in words):
        raise InputError(f"{path}: {key} must be plain text or numbers; mend it.")
    read = [_read(path, key, action, word) for word in words]
    if isinstance(action, Labels):
        return [label for labels in read for label in labels]
    return read if several else read[0]


def _read(path: Path, key: str, action: argparse.Action, word: Any) -> Any:
    convert = action.type if callable(action.type) else str
    try:
        value = convert(str(word))
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise InputError(f"{path}: {key} cannot be {word!r} ({error}); mend it.") from error
    if action.choices is not None and value not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise InputError(f"{path}: {key} is {word!r}; choose from {choices}.")
    return value
