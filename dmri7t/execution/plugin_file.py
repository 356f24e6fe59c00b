"""Read a plugin file of Nipype's form: where nodes run, and with what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.execution.slurm.client import has_slurm, is_configured
from dmri7t.execution.slurm.options import split_options
from dmri7t.execution.slurm.settings import SlurmSettings

KINDS = {
    "local": "local",
    "multiproc": "local",
    "legacymultiproc": "local",
    "linear": "linear",
    "slurm": "slurm",
}
"""What is used for a plugin of Nipype's, whatever the case of its name."""

LOCAL: dict[str, type] = {"n_procs": int, "memory_gb": float, "n_gpu_procs": int}
"""Arguments of the local plugins that are used."""

UNUSED = {
    "local": ("raise_insufficient", "mp_context", "maxtasksperchild", "scheduler", "non_daemon"),
    "slurm": ("max_tries", "jobid_re"),
}
"""Arguments of Nipype's plugins that have no meaning here: they are ignored."""

RENAMED = {
    "poll_sleep_duration": "poll_seconds",
    "retry_timeout": "retry_seconds",
    "job_finished_timeout": "result_seconds",
}
"""Nipype's names of settings of ours."""


@attrs.frozen
class LocalSettings:
    """What a plugin file says of a run on this machine.

    Parameters
    ----------
    n_procs, memory_gb, n_gpu_procs
        What all may use; None where the file does not say.
    one_by_one : bool
        One node at a time.
    """

    n_procs: int | None = None
    memory_gb: float | None = None
    n_gpu_procs: int | None = None
    one_by_one: bool = attrs.field(default=False, kw_only=True)


def read_plugin_file(path: Path) -> LocalSettings | SlurmSettings:
    """Read a plugin file.

    Raises
    ------
    InputError
        If it is no such file, names a plugin or an argument that is not known, or asks for
        SLURM where SLURM's commands are not installed.
    """
    content = _load(path)
    plugin, args = content.get("plugin"), content.get("plugin_args") or {}
    kind = KINDS.get(str(plugin).lower())
    if kind is None:
        raise InputError(
            f"{path}: plugin {plugin!r} is not known; choose SLURM, MultiProc, Linear or local."
        )
    if not isinstance(args, dict):
        raise InputError(f"{path}: plugin_args must hold names and values; mend it.")
    if kind == "slurm":
        if not has_slurm():
            raise InputError(
                f"{path}: asks for SLURM, but sbatch, squeue, scancel or scontrol is not on the "
                "PATH; start dmri7t on a machine of the cluster."
            )
        if not is_configured():
            raise InputError(
                f"{path}: asks for SLURM, which has no configuration here (slurm.conf, or "
                "SLURM_CONF); start dmri7t on a machine of the cluster."
            )
        return _slurm(path, args)
    return _local(path, args, one_by_one=kind == "linear")


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a file.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as YAML ({problem}); mend it.") from None
    if not isinstance(content, dict) or "plugin" not in content:
        raise InputError(f"{path}: does not say which plugin; add a line such as plugin: SLURM.")
    return content


def _check_names(path: Path, names: Iterable[str], allowed: tuple[str, ...]) -> None:
    unknown = sorted(str(name) for name in set(names) - set(allowed))
    if unknown:
        raise InputError(
            f"{path}: plugin_args {', '.join(unknown)} not known; there are: {', '.join(allowed)}."
        )


def _number(path: Path, name: str, value: Any, kind: type = float) -> Any:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    if not good or kind(value) != value:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"{path}: plugin_args {name} must be {what}, not {value!r}; mend it.")
    return kind(value)


def _local(path: Path, args: dict[str, Any], one_by_one: bool) -> LocalSettings:
    _check_names(path, args, (*LOCAL, *UNUSED["local"]))
    values = {k: _number(path, k, v, LOCAL[k]) for k, v in args.items() if k in LOCAL}
    for name in ("n_procs", "memory_gb"):
        if values.get(name) == 0:
            raise InputError(f"{path}: plugin_args {name} must be above 0; mend it.")
    return LocalSettings(**values, one_by_one=one_by_one)


def _slurm(path: Path, args: dict[str, Any]) -> SlurmSettings:
    fields = {f.name: f.default for f in attrs.fields(SlurmSettings) if f.init}
    _check_names(path, args, (*fields, *RENAMED, *UNUSED["slurm"]))
    values: dict[str, Any] = {}
    for given, value in args.items():
        name = RENAMED.get(given, given)
        if name in UNUSED["slurm"]:
            continue
        if name in ("sbatch_args", "gpu_sbatch_args"):
            values[name] = _options(path, value)
        elif name == "template":
            values[name] = _template(path, str(value))
        else:
            kind = int if isinstance(fields[name], int) else float
            values[name] = _number(path, given, value, kind)
    try:
        return SlurmSettings(**values)
    except InputError as error:
        raise InputError(f"{path}: template: {error}") from None


def _options(path: Path, value: Any) -> tuple[str, ...]:
    try:
        return tuple(split_options(str(value or "")))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _template(path: Path, value: str) -> str:
    """Text of a template, which may lie in a file of its own."""
    text = value
    if "\n" not in value and not value.startswith("#!"):
        file = Path(path).parent / value
        try:
            text = file.read_text()
        except OSError as error:
            raise InputError(f"{path}: template {file}: {error.strerror}; mend it.") from None
    if not text.startswith("#!"):
        raise InputError(f"{path}: template must begin with a line such as #!/bin/bash; mend it.")
    return text
