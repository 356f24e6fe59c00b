"""Help says every default, ends in commands that are understood, and is plain where it is no
terminal; completion knows every option."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dmri7t.cli import model
from dmri7t.cli.parser import build_parser

COMMANDS = {"dmri7t": ("app", build_parser), "dmri7t-model": ("model", model.build_parser)}


def run(module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"dmri7t.cli.{module}", *words]
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"COLUMNS": "200", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    return done


def parsers() -> Iterator[argparse.ArgumentParser]:
    for _, build in COMMANDS.values():
        parser = build()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from action.choices.values()


PARSERS = {parser.prog: parser for parser in parsers()}


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_that_takes_a_value_says_its_default(name: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    parser = PARSERS[name]
    lines = parser.format_help().splitlines()
    for action in parser._actions:
        if not action.option_strings or action.nargs == 0 or action.dest == "print_completion":
            continue
        (at,) = [
            i for i, x in enumerate(lines) if re.match(rf"  {action.option_strings[0]}[ ,]", x)
        ]
        # the text stands beside the names, or below them
        shown = lines[at] + (lines[at + 1] if "  " not in lines[at].strip() else "")
        assert "default: " in shown, action.option_strings[0]
        plain = action.default if type(action.default) in (int, float, str) else ""
        assert str(plain).removesuffix(".0") in shown or "-" in str(plain), shown


@pytest.mark.parametrize("name", PARSERS)
def test_help_ends_in_commands_that_are_understood(name: str) -> None:
    text = PARSERS[name].format_help()
    commands = re.findall(rf"^  ({name.split()[0]} .*)$", text.partition("Examples:")[2], re.M)
    assert commands, "no examples"
    program = PARSERS[name.split()[0]]
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        assert program.prog and ("--help" in words or program.parse_args(words)), line


def test_help_is_grouped_and_coloured_on_a_terminal_alone() -> None:
    plain = run("app", "--help").stdout
    assert "\x1b[" not in plain
    groups = ("Which scans:", "What is done to raw scans first:", "What is made:")
    assert all(group in plain for group in groups)
    coloured = run("app", "--help", FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[" in coloured and re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("name", COMMANDS)
def test_bash_completes_options_and_their_choices(name: str, tmp_path) -> None:
    module, build = COMMANDS[name]
    script = tmp_path / "completion.bash"
    script.write_text(run(module, "--print-completion", "bash").stdout)
    asked = {
        "dmri7t": [(["--estim"], "--estimate"), (["--estimate", "s"], "sample")],
        "dmri7t-model": [(["eval"], "evaluate"), (["train", "--pa"], "--pairs")],
    }
    for words, expected in asked[name]:
        typed = [name, *words]
        lines = (
            f"source {shlex.quote(str(script))}",
            f"COMP_WORDS=({shlex.join(typed)}) COMP_CWORD={len(words)}",
            f"COMP_LINE={shlex.quote(' '.join(typed))}",
            f"entry=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $entry",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        )
        done = subprocess.run(
            ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=30
        )
        assert expected in done.stdout.split(), done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_names_every_option(shell: str) -> None:
    script = run("app", "--print-completion", shell).stdout
    for action in build_parser()._actions:
        for option in action.option_strings:
            assert option.lstrip("-") in script, option
    if shell != "tcsh" and shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
