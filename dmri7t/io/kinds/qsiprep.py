"""QSIPrep's results: scans that are corrected, their brain masks, their tissues."""

from __future__ import annotations

from pathlib import Path

import attrs

from dmri7t.io.anatomy import Program
from dmri7t.io.dataset import makers
from dmri7t.io.kinds.base import NOTHING_HERE, Kind
from dmri7t.io.names import split_name
from dmri7t.io.scan import Scan

SERIES = "preproc"
"""Value of ``desc`` in the name of a scan that is done."""


class Qsiprep(Kind):
    """Scans of today's QSIPrep (``space-ACPC``) and of earlier ones (``space-T1w``)."""

    name = "qsiprep"
    input_type = "qsiprep"
    title = "QSIPrep's results"
    link = "qsiprep"
    resampled_by = "QSIPrep"
    # the labels are those of MRtrix's five tissues
    program = Program(
        "qsiprep", "QSIPrep", (2, 3, 1), "whose scans are taken instead of the raw ones", True
    )
    methods = f"The scan had been preprocessed by QSIPrep [Cieslak et al. 2021]; {NOTHING_HERE}."
    heading = "It was corrected before"
    caveat = (
        "The scan came from QSIPrep's results. dmri7t itself does not correct motion, eddy "
        "currents or distortion: whatever of them QSIPrep left is in the output too."
    )
    usage = """\
**QSIPrep's results**, which is what is recommended::

    dmri7t /data/qsiprep /data/out participant
    dmri7t /data/study /data/out participant --derivatives qsiprep=/data/qsiprep

Scans are the images with ``desc-preproc_dwi`` in their names, in ``space-ACPC`` or, from earlier
versions, ``space-T1w``, with sessions or without. With the second form the raw data set names the
participants; its own scans are listed as skipped. QSIPrep's brain mask is used. Where there is a
``.b`` file, the gradients are read from it: it has them in the scanner's frame. It must agree with
``bval`` and ``bvec``, to 5 degrees and 5 % (or 20 s/mm2): where it does not, one of the files was
changed after it was written, nothing in them tells which, and a wrong guess would turn every fibre;
so the scan is skipped and the line says what to do. Names of results keep ``space-ACPC``. A noise
map beside the scan is named and not used: it tells the noise that was taken out, and the noise that
is left is measured in the scan.
"""

    def recognises(self, root: Path) -> bool:
        """By the maker; by names where there is no dataset_description.json."""
        names = makers(root)
        if (root / "dataset_description.json").exists():
            return "qsiprep" in names and "dmri7t" not in names
        return looks_like_qsiprep(root)

    def why_skipped(self, path: Path) -> str:
        """Only the preprocessed series is taken.

        Examples
        --------
        >>> KIND.why_skipped(Path("sub-1_space-ACPC_desc-preproc_dwi.nii.gz"))
        ''
        >>> KIND.why_skipped(Path("sub-1_space-ACPC_dwi.nii.gz"))
        'not the final series of QSIPrep, which has desc-preproc in its name'
        """
        if split_name(path).get("desc") == SERIES:
            return ""
        return f"not the final series of QSIPrep, which has desc-{SERIES} in its name"

    def complete(self, scan: Scan) -> Scan:
        """Add QSIPrep's brain mask; the checks say where it is missing."""
        stem = scan.dwi.name.split(f"_desc-{SERIES}_")[0]
        return attrs.evolve(scan, mask=scan.dwi.with_name(f"{stem}_desc-brain_mask.nii.gz"))


def looks_like_qsiprep(root: Path) -> bool:
    """Whether the names in a folder are QSIPrep's; looks at the first participants only.

    Examples
    --------
    >>> looks_like_qsiprep(Path("/nowhere"))
    False
    """
    ending = f"dwi/*_desc-{SERIES}_dwi.nii*"
    return any(
        next(subject.glob(pattern), None)
        for subject in sorted(Path(root).glob("sub-*"))[:5]
        for pattern in (ending, f"ses-*/{ending}")
    )


KIND = Qsiprep()
