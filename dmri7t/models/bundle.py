"""A model on disk: a folder with config.json, README.md and one safetensors file a network.

Reading a bundle's description and checking it needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dmri7t.errors import ModelError
from dmri7t.files import is_part, write_whole

ZOO = Path(__file__).parent / "zoo"
"""Models that ship with the package."""

CONFIG = "config.json"


def resolve_model(name: str | Path) -> Path:
    """Folder of a model given by a path, or by its name in the zoo.

    Raises
    ------
    ModelError
        If there is no such model; lists those that ship.
    """
    shipped = ZOO / str(name)
    for folder in (Path(name), shipped):
        if (folder / CONFIG).is_file():
            return folder.resolve()
    known = ", ".join(sorted(p.parent.name for p in ZOO.glob(f"*/{CONFIG}"))) or "none"
    raise ModelError(
        f"{name}: no model here (a folder with {CONFIG}); models that ship: {known}. "
        "Give one of these or the folder that dmri7t-model train wrote."
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text())
        config["files"], config["networks"], config["form"]  # noqa: B018
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a readable model description ({type(error).__name__}: {error}); "
            "copy the model's folder again or train it anew."
        ) from error
    return config


def shares(config: dict[str, Any]) -> tuple[list[float], list[float]]:
    """How much of samples and of super-resolution R0, R2 and R4 take: all if nothing is said."""
    every = [1.0] * 3
    return config["sampler"].get("gain", every), config.get("refinement", every)


def check_bundle(folder: Path) -> dict[str, Any]:
    """Hold every file of a model against its recorded SHA-256; return the config.

    Raises
    ------
    ModelError
        If a file is missing or altered.
    """
    config = read_config(folder)
    for name, recorded in config["files"].items():
        path = Path(folder) / name
        if not path.is_file():
            raise ModelError(f"{path}: missing from the model; copy the model's folder again.")
        if file_sha256(path) != recorded:
            raise ModelError(
                f"{path}: altered or damaged (its SHA-256 is not the one in {CONFIG}); "
                "copy the model's folder again."
            )
    return config


def model_checksum(folder: Path) -> str:
    """One SHA-256 for the whole model, after :func:`check_bundle`.

    The config holds the checksum of every weights file, so its own covers them all.
    """
    check_bundle(folder)
    return file_sha256(Path(folder) / CONFIG)


def save_weights(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None
) -> None:
    """Write torch tensors as safetensors, readable to whom new files are.

    The library's own ``save_file`` leaves a file that only its owner can read.
    """
    from safetensors.torch import save

    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    Path(path).write_bytes(save(held, metadata))


def write_bundle(folder: Path, config: dict[str, Any], card: str) -> None:
    """Write config.json with the checksums of the weights present, and the card.

    Parameters
    ----------
    folder : Path
        Holds the .safetensors files already.
    config : dict
        All but ``files``.
    card : str
        README.md.
    """
    folder = Path(folder)
    weights = sorted(path for path in folder.glob("*.safetensors") if not is_part(path))
    files = {path.name: file_sha256(path) for path in weights}
    write_whole(folder / "README.md", card)
    write_whole(folder / CONFIG, json.dumps({**config, "files": files}, indent=2) + "\n")
