"""Arrays between nodes: uncompressed files that are mapped, not read.

Voxel-wise arrays are .npy of shape (volumes, voxels), voxels in the C order of their mask;
named tensors are .safetensors, whose metadata holds numbers and words as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from dmri7t.errors import Dmri7tError

if TYPE_CHECKING:  # torch is loaded only where a shell is read or written
    from dmri7t.signal.estimate import ShellEstimate
    from dmri7t.signal.held_out import Evidence
    from dmri7t.signal.shell import Brain, Shell

SHELL_TENSORS = {
    "sh": "sh_CV",
    "rish": "rish_3V",
    "noise": "noise_3V",
    "coherent": "coherent_9V",
    "loss": "loss_V",
    "sigma": "sigma_V",
}
"""Names in a shell's file of what a Shell holds voxel by voxel."""


def create_array(path: Path | str, shape: tuple[int, ...]) -> np.memmap:
    """Make a float32 .npy file to be filled in place.

    Raises
    ------
    Dmri7tError
        If there is no room for it: a disk that is full while a page is written kills the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
    except OSError as error:
        raise Dmri7tError(
            f"{path}: cannot be written ({error.strerror}); make room for "
            f"{array.nbytes / 2**30:.2g} GiB and run the command again"
        ) from error
    return array


def open_array(path: Path | str) -> np.ndarray:
    """Map a .npy file; pages are private, so nothing that is done to them reaches the file."""
    return np.load(path, mmap_mode="c")


def save_tensors(path: Path | str, tensors: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write named torch tensors and a record of plain values.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    tensors : dict of Tensor
    meta : dict
        Whatever JSON can hold.
    """
    from safetensors.torch import save_file

    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(held, str(path), metadata={"meta": json.dumps(meta)})


def load_tensors(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote: tensors, and the record."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        meta = json.loads((file.metadata() or {}).get("meta", "{}"))
        # not keys() of a dict: the file's own list of names
        names = list(file.keys())  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}, meta


def save_shell(path: Path | str, shell: Shell) -> None:
    """Write a shell but for its brain, whose mask is a file of its own.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    shell : Shell
        Its description, and the order, weight of the penalty and gain of its fit, make the
        record.
    """
    import torch

    plan = shell.plan
    fitted = {
        "order": plan.order,
        "laplace_beltrami": plan.laplace_beltrami,
        "gain": plan.gain_L.tolist(),
    }
    tensors = {name: getattr(shell, field) for name, field in SHELL_TENSORS.items()}
    directions = torch.from_numpy(shell.directions_N3)
    record = {**shell.description.as_dict(), **fitted}
    save_tensors(path, {**tensors, "directions": directions}, record)


def load_shell(path: Path | str, brain: Brain) -> Shell:
    """Read what :func:`save_shell` wrote.

    Raises
    ------
    ValueError
        If the brain has another number of voxels.
    """
    from dmri7t.signal.describe import Description
    from dmri7t.signal.harmonics import plan_fit
    from dmri7t.signal.shell import Shell

    tensors, record = load_tensors(path)
    directions_N3 = tensors["directions"].numpy()
    return Shell(
        brain=brain,
        directions_N3=directions_N3,
        plan=plan_fit(directions_N3, record["order"], record["laplace_beltrami"]),
        description=Description.from_dict(record),
        **{field: tensors[name] for name, field in SHELL_TENSORS.items()},
    )


def save_estimate(path: Path | str, estimate: ShellEstimate) -> None:
    """Write what is taken for a shell's coefficients; shares and evidence make the record."""
    tensors = {"sh": estimate.sh_CV, "rish": estimate.rish_3V, "b0": estimate.b0_V}
    if estimate.trust_V is not None:
        tensors["trust"] = estimate.trust_V
    record = {
        "evidence": attrs.asdict(estimate.evidence),
        "model_shares": estimate.model_shares,
        "rish_shares": estimate.rish_shares,
        "floor": estimate.floor,
    }
    save_tensors(path, tensors, record)


def load_estimate(path: Path | str) -> ShellEstimate:
    """Read what :func:`save_estimate` wrote."""
    from dmri7t.signal.estimate import ShellEstimate

    tensors, record = load_tensors(path)
    evidence = _as_evidence(record["evidence"])
    shares, of_rish = tuple(record["model_shares"]), tuple(record["rish_shares"])
    arrays = tensors["sh"], tensors["rish"], shares, evidence, tensors["b0"]
    return ShellEstimate(*arrays, of_rish, tensors.get("trust"), record["floor"])


def save_evidence(path: Path | str, evidence: Evidence) -> None:
    """Write what a shell says of its estimates as JSON."""
    Path(path).write_text(json.dumps(attrs.asdict(evidence), indent=2))


def load_evidence(path: Path | str) -> Evidence:
    """Read what :func:`save_evidence` wrote."""
    return _as_evidence(json.loads(Path(path).read_text()))


def _as_evidence(record: dict[str, Any]) -> Evidence:
    from dmri7t.signal.held_out import Evidence, HeldOutError

    errors = {
        name: tuple(HeldOutError(**error) for error in record[name])
        for name in ("errors", "beside", "coarser")
    }
    shares = {"shares": tuple(map(tuple, record["shares"]))}
    shares["rish_shares"] = tuple(record["rish_shares"])
    return Evidence(**{**record, **errors, **shares})


def load_meta(path: Path | str) -> dict[str, Any]:
    """Read the record alone, without torch."""
    with open(path, "rb") as file:
        # the format begins with the length of a JSON header, 8 bytes, little-endian
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header.get("__metadata__", {}).get("meta", "{}"))
