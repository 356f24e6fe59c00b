"""The files that make a folder a BIDS derivative data set, and say what it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from dmri7t import __version__
from dmri7t.errors import InputError
from dmri7t.files import strict_json, write_whole
from dmri7t.io.dataset import read_description
from dmri7t.settings import Settings

BIDS_VERSION = "1.10.0"

PAPER = "https://arxiv.org/abs/2408.12897"
"""Of the method."""

README = """\
# 7T-like diffusion MRI

These images were made by dmri7t from the 3T diffusion scans of the data sets that
dataset_description.json names. What a sidecar calls `Synthetic` is a model's estimate and no
measurement: do not take it for a 7T scan, and make no diagnosis on it.

- `sub-<label>.html`: what was made of each scan, and whether anything is unusual. Look there first.
- `sub-<label>/`: 7T-like scans (`desc-7Tlike_dwi`, or `desc-preproc_dwi` in QSIPrep's layout),
  maps (`_dwimap`) before (`desc-native`) and after (`desc-7Tlike`), brain masks, quality metrics.
  The sidecar (.json) of each image says what it is, its units, its space and how it was made;
  `descriptions.tsv` explains `desc`.
- `models/`: what each model is, and what it was trained on; sidecars name the file.
- `logs/CITATION.md`, `.bib`: the methods in words, with references, of the last run; `logs/runs/`
  keeps those of every run.
- `group_dwi.tsv`, `.json`, `.html`, where they are: all scans in one table.

The licence of the source data, and what its participants agreed to, hold for these images too.
"""
"""README.md; what may change from run to run stands in dataset_description.json."""

READMES = ("README", "README.md", "README.rst", "README.txt")
"""Names under which a data set may have its one README."""

ACKNOWLEDGE = (
    f"Cite dmri7t and the paper whose method it builds on ({PAPER}), and put the methods text in "
    "logs/CITATION.md, with its references, into the Methods of your paper."
)
"""How to acknowledge what is ours."""

IMAGE = "DMRI7T_IMAGE"
"""Environment variable by which our containers say which image they are."""

APPTAINER = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""Environment variables in which Apptainer, and Singularity before it, name the image's file."""

DESCRIPTIONS = {
    "preproc": "7T-like, synthetic; under the name that QSIPrep gives to a preprocessed scan",
    "7Tlike": "Made from a 3T scan to resemble a 7T one; synthetic",
    "native": "Of the 3T scan itself, on its own grid",
    "uncertainty": "How far results may be off, as far as the model knows: a standard deviation, "
    "or half the opening of a cone",
    "brain": "Brain mask",
    "quality": "Quality metrics",
}
"""Meaning of the desc entities."""

WHAT_ROWS_ARE = "What desc means in names of files."
COLUMNS = {"desc_id": "The entity, as names have it.", "description": "What it means."}
"""Of the table of desc entities."""

IGNORED = (
    "*_dwimap.nii.gz",
    "*_dwimap.json",
    "*.bval",
    "*.bvec",
    "*.b",
    "*_dwiref.*",
    "*.toml",
    "*.html",
    "sub-*/figures",
    "*_desc-quality_dwi.*",
    "group_dwi.*",
    "logs",
    "models",
)
"""What the validator does not know yet. A folder is named without a slash: with one it is not
matched."""


def check_output(out_dir: Path) -> None:
    """See that a folder is not another program's data set, which ours would overwrite.

    Raises
    ------
    InputError
    """
    description = _description(out_dir)
    makers = description.get("GeneratedBy", [])
    listed = makers if isinstance(makers, list) else []
    names = [m.get("Name") for m in listed if isinstance(m, dict)]
    if description and "dmri7t" not in names:
        raise InputError(
            f"{out_dir}: holds another data set ({description.get('Name', 'without a name')}); "
            "choose an output folder of its own."
        )


def _description(folder: Path) -> dict[str, Any]:
    """Content of a folder's dataset_description.json; empty where it has none, or a broken one."""
    try:
        return read_description(folder)
    except InputError:
        return {}


def _source(folder: Path) -> dict[str, str]:
    """A data set that results were made from."""
    doi = _description(folder).get("DatasetDOI")
    url = {"URL": Path(folder).resolve().as_uri()}
    return {**url, "DOI": doi} if isinstance(doi, str) and doi else url


@attrs.frozen
class Origin:
    """What the data sets that results are made from say of themselves, as far as it holds on.

    Parameters
    ----------
    license : str
        If all that name one name the same; else empty.
    authors : tuple of str
        Of all of them, each once.
    acknowledge : tuple of str
        How each wants to be acknowledged.
    """

    license: str = ""
    authors: tuple[str, ...] = ()
    acknowledge: tuple[str, ...] = ()

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Origin:
        """Read it; what is no valid BIDS is left out."""
        said = [_description(folder) for folder in folders]
        licenses = {text for each in said for text in _words(each.get("License"))}
        authors = [name for each in said for name in _words(each.get("Authors"))]
        wishes = [text for each in said for text in _words(each.get("HowToAcknowledge"))]
        return cls(
            licenses.pop() if len(licenses) == 1 else "",
            tuple(dict.fromkeys(authors)),
            tuple(dict.fromkeys(wishes)),
        )

    def to_json(self) -> dict[str, Any]:
        """Keys of dataset_description.json."""
        wishes = "".join(f" Of the source data: {text}" for text in self.acknowledge)
        return {
            **({"License": self.license} if self.license else {}),
            **({"Authors": list(self.authors)} if self.authors else {}),
            "HowToAcknowledge": ACKNOWLEDGE + wishes,
        }


def _words(value: object) -> list[str]:
    """Text, or a list of texts, without what is neither."""
    values = value if isinstance(value, list) else [value]
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]


def container_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The container that the program runs in, as BIDS describes it; empty outside of one.

    Examples
    --------
    >>> container_of({"DMRI7T_IMAGE": "dmri7t:0.2.0"})
    {'Type': 'docker', 'Tag': 'dmri7t:0.2.0'}
    >>> container_of({"APPTAINER_CONTAINER": "/images/dmri7t.sif", "DMRI7T_IMAGE": "dmri7t:0.2.0"})
    {'Type': 'apptainer', 'Tag': 'dmri7t:0.2.0', 'URI': 'file:///images/dmri7t.sif'}
    >>> container_of({})
    {}
    """
    image = environment.get(IMAGE, "")
    tag = {"Tag": image} if image else {}
    file = next((environment[name] for name in APPTAINER if environment.get(name)), "")
    if file:
        # of an image that was not built from a file, Apptainer says where it is from, as a URI
        uri = file if "://" in file else Path(file).absolute().as_uri()
        return {"Type": "apptainer", **tag, "URI": uri}
    return {"Type": "docker", **tag} if image else {}


def model_file(settings: Settings) -> str:
    """Where a data set describes the model, once for all sidecars; relative to its root."""
    return f"models/{settings.model_sha256[:12]}.json"


def write_dataset_files(
    out_dir: Path, sources: dict[str, Path], settings: Settings, model: dict[str, Any]
) -> None:
    """Write what describes the data set and the model; a README that is there stays.

    Parameters
    ----------
    out_dir : Path
    sources : dict of Path
        Data sets that results are made from, by their names in BIDS URIs.
    settings : Settings
        They name the model.
    model : dict
        What its file says of it, see ``niflow.dmri7t.outputs.describe_model``.
    """
    out_dir = Path(out_dir)
    (out_dir / "models").mkdir(parents=True, exist_ok=True)
    container = container_of(os.environ)
    description = {
        "Name": "dmri7t: 7T-like diffusion MRI from 3T scans",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        **Origin.of(sources.values()).to_json(),
        "ReferencesAndLinks": [PAPER],
        "GeneratedBy": [
            {
                "Name": "dmri7t",
                "Version": __version__,
                "Description": f"Synthetic images made by the model "
                f"{settings.model_name} {settings.model_version} "
                f"(SHA-256 {settings.model_sha256}), see {model_file(settings)}",
                **({"Container": container} if container else {}),
            }
        ],
        "SourceDatasets": [_source(folder) for folder in sources.values()],
        "DatasetLinks": {name: Path(folder).resolve().as_uri() for name, folder in sources.items()},
    }
    rows = ["\t".join(COLUMNS), *(f"desc-{k}\t{v}" for k, v in DESCRIPTIONS.items())]
    columns = {name: {"Description": text} for name, text in COLUMNS.items()}
    texts = {
        "dataset_description.json": strict_json(description),
        "descriptions.tsv": "\n".join(rows) + "\n",
        "descriptions.json": strict_json({"Description": WHAT_ROWS_ARE, **columns}),
        model_file(settings): strict_json(model),
    }
    if not any((out_dir / name).exists() for name in READMES):
        texts["README.md"] = README
    for name, text in texts.items():
        write_whole(out_dir / name, text)
    write_ignored(out_dir)


def write_ignored(out_dir: Path) -> None:
    """Write .bidsignore."""
    write_whole(Path(out_dir) / ".bidsignore", "\n".join(IGNORED) + "\n")
