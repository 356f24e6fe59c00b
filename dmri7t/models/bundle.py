"""A model on disk: a folder with config.json, README.md and one safetensors file a network.

Reading a bundle's description and checking it needs no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dmri7t.errors import ModelError
from dmri7t.files import file_sha256, is_part, write_whole
from dmri7t.models.card import model_card
from dmri7t.models.config import CONFIG, ModelConfig, read_config

if TYPE_CHECKING:
    import torch

ZOO = Path(__file__).parent / "zoo"
"""Models that ship with the package."""


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
    names = ", ".join(sorted(p.parent.name for p in ZOO.glob(f"*/{CONFIG}"))) or "none"
    raise ModelError(
        f"{name}: no model here (a folder with {CONFIG}); models that ship: {names}. "
        "Give one of these or the folder that dmri7t-model train wrote."
    )


def check_bundle(folder: Path) -> ModelConfig:
    """Hold every file of a model against its recorded SHA-256; return its description.

    Raises
    ------
    ModelError
        If a file is missing or altered.
    """
    config = read_config(folder)
    for name, recorded in config.files.items():
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
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write torch tensors as safetensors, readable to whom new files are.

    The library's own ``save_file`` leaves a file that only its owner can read.
    """
    from safetensors.torch import save

    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    Path(path).write_bytes(save(held, metadata))


def write_bundle(folder: Path, config: ModelConfig) -> ModelConfig:
    """Write a model's description with the checksums of the weights present, and its card.

    Parameters
    ----------
    folder : Path
        Holds the .safetensors files already.
    config : ModelConfig
        Its ``files`` are taken anew from the folder.

    Returns
    -------
    ModelConfig
        As it was written.

    Raises
    ------
    ValueError
        If the model is not finished.
    """
    folder = Path(folder)
    weights = [p for p in sorted(folder.glob("*.safetensors")) if not is_part(p)]
    config = attrs.evolve(config, files={path.name: file_sha256(path) for path in weights})
    config.check_finished()
    write_whole(folder / "README.md", model_card(config))
    write_whole(folder / CONFIG, json.dumps(config.to_dict(), indent=2, allow_nan=False) + "\n")
    return config
