"""Scans of a data set: which are taken, which are left, and why."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_bvals
from dmri7t.signal.gradients import B0_THRESHOLD

if TYPE_CHECKING:
    from dmri7t.io.anatomy import Anatomy

LONG = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "dir": "direction",
    "rec": "reconstruction",
}
"""pybids' names of entities, where they differ from those in the names of files."""

OTHER_FOLDERS = (
    "anat|func|fmap|perf|eeg|meg|ieeg|pet|micr|beh|motion|nirs|mrs|figures|log|logs|xfm|transforms"
)
"""Folders of a subject that hold no diffusion scans."""

ENDINGS = (".nii.gz", ".nii")


@attrs.frozen
class Scan:
    """One diffusion scan and all that belongs to it.

    Parameters
    ----------
    dwi, bval, bvec : Path
    sidecar : dict
        Acquisition fields of the JSON files that apply.
    entities : dict
        Entities of the file's name, as they stand there: sub, ses, acq, dir, run and so on.
    uri : str
        BIDS URI of the image.
    mask, grad_b : Path, optional
        Brain mask, and gradients in the scanner frame, where the data set has them.
    kind : str
        What the source is: "raw", "qsiprep", "hcp", or "derivative" of a program that is not
        known here.
    anatomy : Anatomy, optional
        Tissues of the same head, for figures by tissue.
    flaw : str
        What was found wrong already when the scan was found;
        :func:`dmri7t.io.checks.check_scan` raises it.
    """

    dwi: Path
    bval: Path
    bvec: Path
    sidecar: dict[str, Any]
    entities: dict[str, str]
    uri: str
    mask: Path | None = None
    grad_b: Path | None = None
    kind: str = "raw"
    flaw: str = ""
    anatomy: Anatomy | None = None

    @property
    def preprocessed(self) -> bool:
        """Whether motion and distortion were corrected, as far as is known here."""
        return self.kind in ("qsiprep", "hcp")

    @property
    def segmentation(self) -> tuple[Path, ...]:
        """Images of tissues, or none."""
        return self.anatomy.files if self.anatomy else ()

    @property
    def anatomy_mask(self) -> Path | None:
        """Brain mask in the space of the tissues."""
        return self.anatomy.mask if self.anatomy else None

    @property
    def stem(self) -> str:
        """Entities as names of results begin with them, such as ``sub-01_ses-a_dir-AP``."""
        # results have a description of their own
        kept = {key: value for key, value in self.entities.items() if key != "desc"}
        return "_".join(f"{key}-{value}" for key, value in kept.items())


@attrs.frozen
class Candidate:
    """A file that might be a scan, and what was decided.

    Parameters
    ----------
    path : Path
    reason : str
        Why it was left; empty where it was taken.
    scan : Scan, optional
        Only where it was taken.
    """

    path: Path
    reason: str = ""
    scan: Scan | None = None

    @property
    def taken(self) -> bool:
        """Whether it will be translated."""
        return self.scan is not None


def _nothing(path: Path) -> str:
    return ""


def _same(scan: Scan) -> Scan:
    return scan


@attrs.frozen
class Kind:
    """What a data set is, and how its scans are told from its other images.

    Parameters
    ----------
    name : str
        What becomes ``kind`` of a scan.
    link : str
        Name of the data set in BIDS URIs.
    why_left : callable
        Reason to leave an image with the suffix ``dwi`` by its path; empty if there is none.
    complete : callable
        Adds to a scan what lies beside it.
    """

    name: str = "raw"
    link: str = "raw"
    why_left: Callable[[Path], str] = _nothing
    complete: Callable[[Scan], Scan] = _same


RAW = Kind()
DERIVATIVE = Kind("derivative", "source")


def find_scans(
    bids_dir: Path,
    participants: Sequence[str],
    sessions: Sequence[str] = (),
    filters: dict[str, Any] | None = None,
    database: Path | None = None,
    b0_threshold: float = B0_THRESHOLD,
    kind: Kind = RAW,
) -> list[Candidate]:
    """List every image in the dwi folders of some participants as taken or left.

    Only names and gradient files are read; :func:`dmri7t.io.checks.check_scan` looks closer at
    those that were taken.

    Parameters
    ----------
    bids_dir : Path
    participants : sequence of str
        Labels without ``sub-``.
    sessions : sequence of str
        Labels without ``ses-``; empty: all.
    filters : dict, optional
        Entities that a scan must have, as in fMRIPrep's ``--bids-filter-file`` under ``dwi``: a
        value, a list of values, None for none, ``"*"`` for any.
    database : Path, optional
        Folder for pybids' index. It is used again as long as the names of the files are the same.
    b0_threshold : float
        Series with nothing above this b-value are left.
    kind : Kind
        What the data set is.

    Returns
    -------
    list of Candidate
        In the order of their paths.
    """
    bids_dir = Path(bids_dir).absolute()
    layout = _layout(bids_dir, participants, database)
    images = layout.get(datatype="dwi", extension=list(ENDINGS))
    beside = {
        kind: [Path(f.path) for f in layout.get(suffix="dwi", extension=f".{kind}")]
        for kind in ("bval", "bvec", "json")
    }
    candidates: list[Candidate] = []
    taken: dict[str, Path] = {}
    for image in sorted(images, key=lambda i: i.path):
        path = Path(image.path)
        reason = why_left(image.get_entities(), sessions, filters or {}) or kind.why_left(path)
        scan = None if reason else kind.complete(_scan(path, beside, bids_dir, kind))
        if scan is not None:
            reason = only_b0(scan, b0_threshold)
            if not reason and scan.stem in taken:
                reason = f"its results would have the names of those of {taken[scan.stem].name}"
        if scan is None or reason:
            candidates.append(Candidate(path, reason))
            continue
        taken[scan.stem] = path
        candidates.append(Candidate(path, scan=scan))
    return candidates


def _layout(bids_dir: Path, participants: Sequence[str], database: Path | None) -> Any:
    """Index the dwi folders of these participants, nothing else."""
    from bids import BIDSLayout, BIDSLayoutIndexer

    asked = "|".join(re.escape(label) for label in participants)
    ignore = [
        re.compile(rf"^/sub-(?!(?:{asked})(?:/|$))"),
        re.compile(rf"/(?:{OTHER_FOLDERS})(?:/|$)"),
        re.compile(r"^/(?:derivatives|sourcedata|code|stimuli|phenotype)(?:/|$)"),
        re.compile(r"/\."),
    ]
    # sidecars are read here, file by file: one that is broken must not stop the others
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    if database is not None:
        # pybids does not notice that files came or went: another list of files, another index
        names = "\n".join([str(bids_dir), *sorted(_names(bids_dir, participants))])
        database = Path(database) / hashlib.sha256(names.encode()).hexdigest()[:16]
    return BIDSLayout(
        str(bids_dir),
        validate=False,
        derivatives=False,
        # names of derivatives have entities of their own, for which filters may ask
        config=["bids", "derivatives"],
        indexer=indexer,
        database_path=database,
    )


def _names(bids_dir: Path, participants: Sequence[str]) -> Iterator[str]:
    """Names of the files that are indexed."""
    folders = [bids_dir]
    for label in participants:
        subject = bids_dir / f"sub-{label}"
        for folder in (subject, *subject.glob("ses-*")):
            folders += [folder, folder / "dwi"]
    for folder in folders:
        try:
            yield from (e.path for e in os.scandir(folder) if e.is_file(follow_symlinks=False))
        except OSError:
            continue


def why_left(entities: dict[str, Any], sessions: Sequence[str], filters: dict[str, Any]) -> str:
    """Reason to leave an image by its name; empty if there is none."""
    if entities.get("suffix") != "dwi":
        return f"not a diffusion series (suffix {entities.get('suffix', 'unknown')})"
    if sessions and entities.get("session") not in sessions:
        return f"session {entities.get('session', 'none')} was not asked for"
    for name, wanted in filters.items():
        if not _fits(entities.get(LONG.get(name, name)), wanted):
            asked = wanted if isinstance(wanted, str) else json.dumps(wanted)
            return f"the filter asks for {name} {asked}"
    if entities.get("part", "mag") != "mag":
        return f"part-{entities['part']}: only magnitude images are used"
    return ""


def _fits(value: Any, wanted: Any) -> bool:
    """Whether an entity is what a filter asks for."""
    if isinstance(wanted, list):
        return any(_fits(value, one) for one in wanted)
    if wanted is None or wanted == "*":
        return (value is None) == (wanted is None)
    # a run 01 is the number 1 for pybids, and a string in the filter
    return value is not None and (value == wanted or str(value) == str(wanted))


def only_b0(scan: Scan, b0_threshold: float) -> str:
    """Say that a series has no diffusion weighting, such as one for distortion correction."""
    try:
        bvals = read_bvals(scan.bval)
    except InputError:
        return ""  # that is told by the checks
    if bvals.max() > b0_threshold:
        return ""
    return f"b0 only ({len(bvals)} volumes): there is nothing to translate"


def split_name(path: Path) -> dict[str, str]:
    """Entities of a file's name, as written and in their order.

    Examples
    --------
    >>> split_name(Path("a/sub-01_run-02_dwi.nii.gz"))
    {'sub': '01', 'run': '02'}
    """
    parts = path.name.split(".")[0].split("_")
    return dict(part.split("-", 1) for part in parts if "-" in part)


def applicable(image: Path, files: Iterable[Path]) -> list[Path]:
    """Files that apply to an image by BIDS' principle of inheritance, the nearest first.

    A file applies if it lies in the image's folder or above, and its name has no entity that
    the image's name lacks or has otherwise.

    Examples
    --------
    >>> files = [Path("d/dwi.bval"), Path("d/sub-1/dwi/sub-1_run-2_dwi.bval")]
    >>> [f.name for f in applicable(Path("d/sub-1/dwi/sub-1_dwi.nii"), files)]
    ['dwi.bval']
    """
    entities = split_name(image).items()
    fitting = [
        file
        for file in files
        if file.parent in image.parents and split_name(file).items() <= entities
    ]
    # deepest folder first, and there the name that says most
    return sorted(fitting, key=lambda f: (-len(f.parents), -len(split_name(f)), f.name))


def _scan(path: Path, beside: dict[str, list[Path]], bids_dir: Path, kind: Kind) -> Scan:
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    # where inheritance finds none, the name beside the image is the one that is missed
    nearest = {
        kind: next(iter(applicable(path, beside[kind])), path.with_name(f"{name}.{kind}"))
        for kind in ("bval", "bvec")
    }
    entities, flaw, sidecar = split_name(path), "", {}
    subject = path.relative_to(bids_dir).parts[0].removeprefix("sub-")
    if entities.get("sub") != subject:
        flaw = f"{path}: lies in sub-{subject}, but its name says otherwise; rename or move it."
        entities = {**entities, "sub": subject}
    for file in reversed(applicable(path, beside["json"])):
        try:
            sidecar.update(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            flaw = flaw or f"{file}: not readable as JSON ({error}); mend it."
    grad_b = path.with_name(f"{name}.b")
    return Scan(
        dwi=path,
        **nearest,
        sidecar=sidecar,
        entities=entities,
        uri=f"bids:{kind.link}:{path.relative_to(bids_dir).as_posix()}",
        grad_b=grad_b if grad_b.exists() else None,
        kind=kind.name,
        flaw=flaw,
    )
