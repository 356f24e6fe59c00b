"""Names of the results, and the files that make a folder a BIDS derivative data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from dmri7t import __version__
from dmri7t.errors import InputError
from dmri7t.files import strict_json, write_whole
from dmri7t.io.dataset import read_description
from dmri7t.io.scan import Scan
from dmri7t.settings import LAYOUTS, Settings
from dmri7t.signal.orders import ORDERS


@attrs.frozen
class Output:
    """One kind of result.

    Parameters
    ----------
    suffix : str
        What follows the source's entities in the name.
    text : str
        What it is, for the docs.
    qsiprep : str
        What follows the entities in QSIPrep's layout, if that has another name for it.
    volumes : {"", "one", "shells", "scan"}
        How many volumes of float32 values it holds: one, one a translated shell, or as many as
        the scan; empty for what is small.
    grid : {"output", "input"}
        On which grid they lie.
    layouts : tuple of str
        Which layouts have it: "bids", "qsiprep".
    """

    suffix: str
    text: str
    qsiprep: str = ""
    volumes: str = attrs.field(
        default="", validator=attrs.validators.in_(("", "one", "shells", "scan"))
    )
    grid: str = attrs.field(default="output", validator=attrs.validators.in_(("output", "input")))
    layouts: tuple[str, ...] = LAYOUTS


def _rish(desc: str, text: str, grid: str = "output") -> dict[str, Output]:
    return {
        f"rish{order}_{desc.lower()}": Output(
            f"_model-sh_param-rish{order}_desc-{desc}_dwimap.nii.gz",
            text.format(order=order),
            volumes="shells",
            grid=grid,
        )
        for order in ORDERS
    }


OUTPUTS: dict[str, Output] = {
    "dwi": Output(
        "_desc-7Tlike_dwi.nii.gz",
        "7T-like scan on the new grid, with .bval, .bvec and .json; zero outside the brain",
        "_desc-preproc_dwi.nii.gz",
        volumes="scan",
    ),
    "mask": Output(
        "_desc-brain_mask.nii.gz", "brain mask on the new grid", "_desc-brain_mask.nii.gz"
    ),
    **_rish("native", "RISH of order {order} of the input; fourth dimension: shells", "input"),
    **_rish("7Tlike", "generated RISH of order {order}; fourth dimension: shells"),
    **_rish(
        "uncertainty",
        "standard deviation of the error of the generated RISH of order {order}; of its samples "
        "alone where the model is not calibrated",
    ),
    "fa": Output(
        "_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz",
        "fractional anisotropy of the output",
        volumes="one",
    ),
    "fa_uncertainty": Output(
        "_model-tensor_param-fa_desc-uncertainty_dwimap.nii.gz",
        "standard deviation of the error of fractional anisotropy; of calibrated models",
        volumes="one",
    ),
    "md": Output(
        "_model-tensor_param-md_desc-7Tlike_dwimap.nii.gz",
        "mean diffusivity in mm2/s",
        volumes="one",
    ),
    "quality_json": Output("_desc-quality_dwi.json", "quality metrics, all of them"),
    "quality_tsv": Output("_desc-quality_dwi.tsv", "quality metrics: a row for b0 and every shell"),
    "settings": Output("_desc-7Tlike_settings.toml", "every setting that decided the result"),
    # QSIPrep 26 says desc-preproc here, too; this older name is the one that all versions of
    # QSIRecon find
    "dwiref": Output(
        "_dwiref.nii.gz",
        "mean b0 of the 7T-like scan",
        "_dwiref.nii.gz",
        volumes="one",
        layouts=("qsiprep",),
    ),
}
"""All results of a scan by key; names in the style of BEP016. A new one is a row here, and a maker
in ``niflow.dmri7t.outputs``."""


def outputs_of(layout: str) -> dict[str, Output]:
    """Rows of :data:`OUTPUTS` that a layout has."""
    return {key: row for key, row in OUTPUTS.items() if layout in row.layouts}


QSIPREP_SPACES = ("ACPC", "T1w")
"""The spaces that QSIRecon looks for in names; it takes no scan without one of them."""

DESCRIPTIONS = {
    "preproc": "7T-like, synthetic; under the name that QSIPrep gives to a preprocessed scan",
    "7Tlike": "Made from a 3T scan to resemble a 7T one; synthetic",
    "native": "Of the 3T scan itself, on its own grid",
    "uncertainty": "Standard deviation of the error, as far as the model knows it",
    "brain": "Brain mask",
    "quality": "Quality metrics",
}
"""Meaning of the desc entities."""

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
)
"""What the validator does not know yet. A folder is named without a slash: with one it is not
matched."""


def qsiprep_space(scan: Scan) -> str:
    """Space that the name of a scan has in QSIPrep's layout.

    It is the source's, where that has one. For a raw scan it is ACPC, since QSIRecon takes no
    scan without a space; :func:`describe_space` says what is true of it.

    Raises
    ------
    InputError
        If the source is in a space for which QSIRecon does not look.
    """
    space = scan.entities.get("space", QSIPREP_SPACES[0])
    if space not in QSIPREP_SPACES:
        raise InputError(
            f"{scan.dwi}: is in space-{space}, but QSIRecon reads only "
            f"{' and '.join(QSIPREP_SPACES)}; leave out --output-layout qsiprep for this scan."
        )
    return space


def describe_space(scan: Scan, layout: str = "bids") -> dict[str, Any]:
    """What sidecars say of the space of the results: always that of the source.

    Examples
    --------
    >>> image = Path("sub-1_dwi.nii")
    >>> scan = Scan(image, image, image, {}, {"sub": "1"}, "bids:raw:sub-1_dwi.nii")
    >>> describe_space(scan)
    {}
    >>> describe_space(scan, "qsiprep")["SpatialReference"]
    'bids:raw:sub-1_dwi.nii'
    """
    if "space" in scan.entities:
        return {"SpatialReference": scan.sidecar.get("SpatialReference", scan.uri)}
    if layout != "qsiprep":
        return {}
    return {
        "SpatialReference": scan.uri,
        "SpaceDescription": "The scanner space of the source, which was neither aligned to the "
        f"AC-PC line nor registered to anything. The name says space-{qsiprep_space(scan)} only "
        "because QSIRecon takes no scan without it.",
    }


def output_path(out_dir: Path, scan: Scan, key: str, layout: str = "bids") -> Path:
    """Path of a result of a scan.

    Parameters
    ----------
    out_dir : Path
        Root of the derivative data set; ``Path()`` for a relative name.
    scan : Scan
    key : str
        Of :data:`OUTPUTS`.
    layout : {"bids", "qsiprep"}
        Whose names the 7T-like scan, its mask and its reference have.
    """
    output = OUTPUTS[key]
    stem, suffix = scan.stem, output.suffix
    if layout == "qsiprep" and output.qsiprep:
        suffix = output.qsiprep
        if "space" not in scan.entities:
            stem = f"{stem}_space-{qsiprep_space(scan)}"
    folder = Path(out_dir) / f"sub-{scan.entities['sub']}"
    if "ses" in scan.entities:
        folder = folder / f"ses-{scan.entities['ses']}"
    return folder / "dwi" / f"{stem}{suffix}"


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


def write_dataset_files(out_dir: Path, sources: dict[str, Path], settings: Settings) -> None:
    """Write dataset_description.json, descriptions.tsv and .bidsignore.

    Parameters
    ----------
    out_dir : Path
    sources : dict of Path
        Data sets that results are made from, by their names in BIDS URIs.
    settings : Settings
        They name the model.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    description = {
        "Name": "dmri7t: 7T-like diffusion MRI from 3T scans",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "dmri7t",
                "Version": __version__,
                "Description": f"Synthetic images made by the model "
                f"{settings.model_name} {settings.model_version} "
                f"(SHA-256 {settings.model_sha256})",
            }
        ],
        "SourceDatasets": [_source(folder) for folder in sources.values()],
        "DatasetLinks": {name: Path(folder).resolve().as_uri() for name, folder in sources.items()},
    }
    rows = ["desc_id\tdescription", *(f"desc-{k}\t{v}" for k, v in DESCRIPTIONS.items())]
    texts = {
        "dataset_description.json": strict_json(description),
        "descriptions.tsv": "\n".join(rows) + "\n",
    }
    for name, text in texts.items():
        write_whole(out_dir / name, text)
    write_ignored(out_dir)


def write_ignored(out_dir: Path) -> None:
    """Write .bidsignore."""
    write_whole(Path(out_dir) / ".bidsignore", "\n".join(IGNORED) + "\n")
