"""The results of a scan: their names, what they are, and whose space they are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.io.scan import Scan
from dmri7t.settings import LAYOUTS
from dmri7t.signal.orders import ORDERS


@attrs.frozen
class Output:
    """One kind of result.

    Parameters
    ----------
    suffix : str
        What follows the source's entities in the name.
    text : str
        What it is, for the docs; and for its sidecar, unless ``said`` is given.
    qsiprep : str
        What follows the entities in QSIPrep's layout, if that has another name for it.
    volumes : {"", "one", "shells", "scan"}
        How many volumes of float32 values it holds: one, one a translated shell, or as many as
        the scan; empty for what is small.
    grid : {"output", "input"}
        On which grid they lie.
    layouts : tuple of str
        Which layouts have it: "bids", "qsiprep".
    units : str
        Of its values, as BIDS writes them; empty where there are none: masks, tables, texts.
    said : str
        What its sidecar says that it is, where that is not what the docs say.
    """

    suffix: str
    text: str
    qsiprep: str = ""
    volumes: str = attrs.field(
        default="", validator=attrs.validators.in_(("", "one", "shells", "scan"))
    )
    grid: str = attrs.field(default="output", validator=attrs.validators.in_(("output", "input")))
    layouts: tuple[str, ...] = LAYOUTS
    units: str = ""
    said: str = ""

    def describe(self, remark: str = "") -> dict[str, str]:
        """Description and Units, as its sidecar says them.

        Parameters
        ----------
        remark : str
            One more sentence.

        Examples
        --------
        >>> Output("_x.nii.gz", "mean diffusivity", units="mm^2/s").describe()
        {'Description': 'Mean diffusivity.', 'Units': 'mm^2/s'}
        """
        text = self.said or self.text
        said = {"Description": f"{text[0].upper()}{text[1:]}. {remark}".rstrip()}
        return {**said, "Units": self.units} if self.units else said


SIGNAL = "arbitrary"
"""Unit of what a scanner measures."""

RATIO = "unitless"
"""Unit of what is one quantity over another of the same unit."""


def _rish(desc: str, text: str, said: str, grid: str = "output") -> dict[str, Output]:
    return {
        f"rish{order}_{desc.lower()}": Output(
            f"_model-sh_param-rish{order}_desc-{desc}_dwimap.nii.gz",
            text.format(order=order),
            volumes="shells",
            grid=grid,
            units=RATIO,
            said=f"{said.format(order=order)}; fourth dimension: Shells",
        )
        for order in ORDERS
    }


OUTPUTS: dict[str, Output] = {
    "dwi": Output(
        "_desc-7Tlike_dwi.nii.gz",
        "7T-like scan on the new grid, with .bval, .bvec and .json; zero outside the brain",
        "_desc-preproc_dwi.nii.gz",
        volumes="scan",
        units=SIGNAL,
        said="7T-like diffusion-weighted scan, estimated from a 3T scan; zero outside the brain",
    ),
    "mask": Output(
        "_desc-brain_mask.nii.gz",
        "brain mask on the new grid",
        "_desc-brain_mask.nii.gz",
        said="brain mask on the grid of the output: 1 inside, 0 outside",
    ),
    **_rish(
        "native",
        "RISH of order {order} of the input; fourth dimension: shells",
        "rotation-invariant energy (RISH) of order {order} of the input's signal over its b0",
        "input",
    ),
    **_rish(
        "7Tlike",
        "generated RISH of order {order}; fourth dimension: shells",
        "rotation-invariant energy (RISH) of order {order} of the signal over its b0, as the model "
        "generated it",
    ),
    **_rish(
        "uncertainty",
        "standard deviation of the error of the generated RISH of order {order}; of its samples "
        "alone where the model is not calibrated",
        "standard deviation of the generated RISH of order {order}",
    ),
    "cone_uncertainty": Output(
        "_model-sh_param-cone_desc-uncertainty_dwimap.nii.gz",
        "half the opening of the cone that holds the principal direction in 95 of 100 voxels; of "
        "models that were calibrated for it; fourth dimension: shells",
        volumes="shells",
        units="degree",
        said="half the opening of the cone about the principal direction of order 2 that holds the "
        "true one in 95 of 100 voxels; near 90 nothing is known of it; fourth dimension: Shells",
    ),
    "fa_native": Output(
        "_model-tensor_param-fa_desc-native_dwimap.nii.gz",
        "fractional anisotropy of the input, on its grid",
        volumes="one",
        grid="input",
        units=RATIO,
    ),
    "md_native": Output(
        "_model-tensor_param-md_desc-native_dwimap.nii.gz",
        "mean diffusivity of the input, on its grid",
        volumes="one",
        grid="input",
        units="mm^2/s",
    ),
    "fa": Output(
        "_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz",
        "fractional anisotropy of the output",
        volumes="one",
        units=RATIO,
    ),
    "fa_uncertainty": Output(
        "_model-tensor_param-fa_desc-uncertainty_dwimap.nii.gz",
        "standard deviation of the error of fractional anisotropy; of calibrated models",
        volumes="one",
        units=RATIO,
        said="standard deviation of the fractional anisotropy of the output",
    ),
    "md": Output(
        "_model-tensor_param-md_desc-7Tlike_dwimap.nii.gz",
        "mean diffusivity of the output",
        volumes="one",
        units="mm^2/s",
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
        units=SIGNAL,
        said="mean b0 of the input on the grid of the output; zero outside the brain",
    ),
}
"""All results of a scan by key; names in the style of BEP016. A new one is a row here, and a maker
in ``niflow.dmri7t.outputs``."""


def outputs_of(layout: str) -> dict[str, Output]:
    """Rows of :data:`OUTPUTS` that a layout has."""
    return {key: row for key, row in OUTPUTS.items() if layout in row.layouts}


QSIPREP_SPACES = ("ACPC", "T1w")
"""The spaces that QSIRecon looks for in names; it takes no scan without one of them."""


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
    {'SpatialReference': 'bids:raw:sub-1_dwi.nii'}
    >>> describe_space(scan, "qsiprep")["SpaceDescription"]
    'The scanner space of the source, which was neither aligned to the AC-PC line nor ...'
    >>> aligned = attrs.evolve(
    ...     scan,
    ...     entities={"sub": "1", "space": "T1w"},
    ...     sidecar={"SpatialReference": "bids::sub-1/anat/sub-1_T1w.nii.gz"},
    ... )
    >>> describe_space(aligned)
    {'SpatialReference': 'bids:raw:sub-1/anat/sub-1_T1w.nii.gz'}
    """
    if "space" in scan.entities:
        return {"SpatialReference": _seen_from_outside(scan)}
    if layout != "qsiprep":
        return {"SpatialReference": scan.uri}
    return {
        "SpatialReference": scan.uri,
        "SpaceDescription": "The scanner space of the source, which was neither aligned to the "
        f"AC-PC line nor registered to anything. The name says space-{qsiprep_space(scan)} only "
        "because QSIRecon takes no scan without it.",
    }


def _seen_from_outside(scan: Scan) -> str:
    """What a scan in a space of its own is aligned to, by a URI that holds in other data sets."""
    said = scan.sidecar.get("SpatialReference")
    if not isinstance(said, str) or not said or said == "orig":
        return scan.uri
    dataset = scan.uri.split(":")[1]
    if said.startswith("bids::"):
        return f"bids:{dataset}:{said.removeprefix('bids::')}"
    # a URI; all else is a path within the data set of the source
    return said if ":" in said else f"bids:{dataset}:{said.lstrip('/')}"


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
