"""Options of sbatch: a node's own, which those of the user replace by name."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from dmri7t.errors import InputError

SHORT = {
    "-A": "--account",
    "-a": "--array",
    "-c": "--cpus-per-task",
    "-d": "--dependency",
    "-e": "--error",
    "-G": "--gpus",
    "-J": "--job-name",
    "-M": "--clusters",
    "-n": "--ntasks",
    "-N": "--nodes",
    "-o": "--output",
    "-p": "--partition",
    "-q": "--qos",
    "-t": "--time",
    "-W": "--wait",
}
"""Long names of the short options that matter here."""

ALIKE = (
    {"--mem", "--mem-per-cpu", "--mem-per-gpu"},
    {"--gres", "--gpus", "--gpus-per-node", "--gpus-per-task", "--gpus-per-socket"},
    {"--cpus-per-task", "--cpus-per-gpu"},
)
"""Options for the same thing: sbatch refuses two of a kind, or ignores the later one."""

REFUSED = {
    "--job-name": "dmri7t finds its jobs by their names",
    "--array": "every node is a job of its own",
    "--wrap": "the script is dmri7t's",
    "--wait": "dmri7t itself waits",
    "--test-only": "nothing would be run",
    "--clusters": "dmri7t looks at one cluster only",
}
"""Options that the user cannot set, and why."""


def split_options(text: str) -> list[str]:
    """Split options as a shell does.

    Raises
    ------
    InputError
        If a quotation mark is not closed, or an option cannot be used.

    Examples
    --------
    >>> split_options("-p short --comment='two words'")
    ['-p', 'short', '--comment=two words']
    >>> split_options("-J mine")
    Traceback (most recent call last):
    dmri7t.errors.InputError: sbatch_args: --job-name cannot be set: dmri7t finds its jobs by...
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"sbatch_args: {text!r}: {error}; mend it.") from None
    for name in sorted(option_names(words) & REFUSED.keys()):
        raise InputError(f"sbatch_args: {name} cannot be set: {REFUSED[name]}; remove it.")
    return words


def option_names(words: Iterable[str]) -> set[str]:
    """Long names of the options among words; values are not looked at.

    Examples
    --------
    >>> sorted(option_names(["-pshort", "--mem=4G", "-o", "out-e.log"]))
    ['--mem', '--output', '--partition']
    """
    names = set()
    for word in words:
        if word.startswith("--"):
            names.add(word.split("=", 1)[0])
        elif word.startswith("-") and len(word) > 1:
            names.add(SHORT.get(word[:2], word[:2]))
    return names


def read_directives(template: str) -> list[str]:
    """Options in a script's ``#SBATCH`` lines."""
    lines = [li.strip() for li in template.splitlines() if li.strip().startswith("#SBATCH")]
    return split_options(" ".join(line.removeprefix("#SBATCH") for line in lines))


def replace_by_name(ours: dict[str, str], theirs: Sequence[str]) -> list[str]:
    """Options of ours that the user's do not name, as words.

    Parameters
    ----------
    ours : dict
        Values by long name.
    theirs : sequence of str
        The user's, which are passed on in any case.

    Examples
    --------
    >>> replace_by_name({"--mem": "900M", "--cpus-per-task": "2"}, ["--mem-per-cpu=2G"])
    ['--cpus-per-task=2']
    """
    named = option_names(theirs)
    for kind in ALIKE:
        if named & kind:
            named |= kind
    return [f"{name}={value}" for name, value in ours.items() if name not in named]


def node_options(node: Any, memory_factor: float, memory_base_gb: float) -> dict[str, str]:
    """What a node asks for: processors, memory in whole MiB, and a GPU if it uses one.

    Parameters
    ----------
    node : nipype Node
    memory_factor, memory_base_gb : float
        The job gets ``mem_gb * memory_factor + memory_base_gb`` GiB: estimates are estimates,
        and every job loads Python and its libraries anew.
    """
    megabytes = math.ceil(1024 * (node.mem_gb * memory_factor + memory_base_gb))
    options = {
        "--nodes": "1",
        "--ntasks": "1",
        "--cpus-per-task": str(node.n_procs),
        "--mem": f"{megabytes}M",
    }
    if uses_gpu(node):
        options["--gres"] = "gpu:1"
    return options


def uses_gpu(node: Any) -> bool:
    """Whether a node says that it uses a GPU, as Nipype's own plugins ask."""
    flags = (getattr(node.inputs, name, False) for name in ("use_gpu", "use_cuda"))
    return any(flag is True for flag in flags)
