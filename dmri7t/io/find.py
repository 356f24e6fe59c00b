"""Where scans come from: raw BIDS, QSIPrep's derivatives, HCP's folders; alone or together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.io.anatomy import MAKERS, find_anatomy
from dmri7t.io.dataset import check_dataset, participant_labels
from dmri7t.io.hcp import bids_label, find_hcp_scans, hcp_labels, is_hcp
from dmri7t.io.inputs import DERIVATIVE, RAW, Candidate, Scan, find_scans
from dmri7t.io.qsiprep import QSIPREP, looks_like_qsiprep
from dmri7t.signal.gradients import B0_THRESHOLD

KINDS = ("auto", "bids", "qsiprep", "hcp")
"""What may be asked for."""

DERIVATIVES = ("qsiprep", "fmriprep")
"""Programs whose results may lie beside the input."""


@attrs.frozen
class Source:
    """The data sets of a run.

    Parameters
    ----------
    root : Path
        The input: it names the participants.
    kind : str
        What it is: "raw", "qsiprep", "hcp" or "derivative".
    derivatives : dict
        Folder by program, of :data:`DERIVATIVES`.
    """

    root: Path
    kind: str
    derivatives: dict[str, Path] = attrs.Factory(dict)

    @property
    def links(self) -> dict[str, Path]:
        """Folders by their names in BIDS URIs, that of the input first."""
        own = {"qsiprep": QSIPREP.link, "derivative": DERIVATIVE.link}.get(self.kind, RAW.link)
        return {own: self.root, **self.derivatives}

    def folders(self) -> dict[str, Path]:
        """Folder of every participant by label."""
        if self.kind == "hcp":
            return {bids_label(name): self.root / name for name in hcp_labels(self.root)}
        return {label: self.root / f"sub-{label}" for label in participant_labels(self.root)}

    def label(self, name: str) -> str:
        """Label of a participant as the user may name it: HCP's folders can have more letters."""
        return bids_label(name) if self.kind == "hcp" else name

    def describe(self) -> str:
        """What the input is, for the log."""
        words = {"raw": "raw BIDS data", "qsiprep": "QSIPrep's results", "hcp": "HCP's folders"}
        own = words.get(self.kind, f"results of {' and '.join(makers(self.root)) or 'a program'}")
        beside = [f"{MAKERS[name]}'s results" for name in self.derivatives]
        return ", with ".join([own, " and ".join(beside)] if beside else [own])

    def place(self, path: Path) -> str:
        """Name of a file within its data set; that of another data set than the input comes first.

        Examples
        --------
        >>> source = Source(Path("/d"), "raw", {"qsiprep": Path("/d/derivatives/q")})
        >>> source.place(Path("/d/sub-1/a")), source.place(Path("/d/derivatives/q/sub-1/a"))
        ('sub-1/a', 'qsiprep: sub-1/a')
        """
        # derivatives may lie within the input
        for name, folder in self.derivatives.items():
            if folder in path.parents:
                return f"{name}: {path.relative_to(folder).as_posix()}"
        return path.relative_to(self.root).as_posix()

    def within(self, text: str) -> str:
        """Take the data sets' folders out of a sentence: where they lie is no one's concern."""
        for folder in (*self.derivatives.values(), self.root):
            text = text.replace(f"{folder}/", "")
        return text


def open_source(
    root: Path, kind: str = "auto", derivatives: dict[str, Path] | None = None, strict: bool = True
) -> Source:
    """See what a folder is, and what lies beside it.

    Parameters
    ----------
    root : Path
    kind : str
        Of :data:`KINDS`; "auto" looks at dataset_description.json, then at names.
    derivatives : dict, optional
        Folder by program, of :data:`DERIVATIVES`.
    strict : bool
        Whether data sets must have a dataset_description.json (HCP's have none).

    Raises
    ------
    InputError
        If a folder is missing, is not what it was said to be, or cannot be used.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the root of a data set.")
    found = _recognise(root) if kind == "auto" else {"bids": _bids(root)}.get(kind, kind)
    if found == "hcp" and not is_hcp(root):
        raise InputError(
            f"{root}: no folder <subject>/T1w/Diffusion, so these are not HCP's; give the folder "
            "that holds the subjects, or another --input-type."
        )
    if strict and found != "hcp":
        check_dataset(root)
    beside = {}
    for program, folder in (derivatives or {}).items():
        beside[program] = Path(folder).absolute()
        _check_beside(program, beside[program], strict)
    if "qsiprep" in beside and found != "raw":
        raise InputError(
            f"{root}: --derivatives qsiprep=PATH goes with raw data, and this is {_word(found)}; "
            "give the one or the other."
        )
    return Source(root, found, beside)


def _word(kind: str) -> str:
    words = {"qsiprep": "QSIPrep's results", "hcp": "HCP's folders"}
    return words.get(kind, "the results of another program")


def makers(root: Path) -> list[str]:
    """Names of the programs that made a data set, in lower case; none for raw data.

    Raises
    ------
    InputError
        If its dataset_description.json is not readable.
    """
    described = _described(root)
    made = described.get("GeneratedBy") or described.get("PipelineDescription") or []
    # before BIDS 1.4 there was one PipelineDescription
    made = [made] if isinstance(made, dict) else made
    return [str(m.get("Name", "")).lower() for m in made if isinstance(m, dict)]


def _described(root: Path) -> dict[str, Any]:
    path = Path(root) / "dataset_description.json"
    if not path.is_file():
        return {}
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); mend it.") from error
    return described if isinstance(described, dict) else {}


def _recognise(root: Path) -> str:
    """Kind of a data set."""
    made = makers(root)
    if "qsiprep" in made and "dmri7t" not in made:
        return "qsiprep"
    if _bids(root) == "derivative":
        name = " and ".join(made) or "a program that is not named"
        what = "already translated" if "dmri7t" in made else "which dmri7t does not know"
        raise InputError(
            f"{root}: results of {name}, {what}; give raw data or QSIPrep's results, or pass "
            "--input-type bids to take its diffusion series as they stand."
        )
    if not (root / "dataset_description.json").exists():
        if is_hcp(root):
            return "hcp"
        if looks_like_qsiprep(root):
            return "qsiprep"
    return "raw"


def _bids(root: Path) -> str:
    """Whether a BIDS data set is raw or a derivative; GeneratedBy may name a converter of raw."""
    described = _described(root)
    derived = described.get("DatasetType") == "derivative" or "PipelineDescription" in described
    return "derivative" if derived else "raw"


def _check_beside(program: str, folder: Path, strict: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the root of {MAKERS[program]}'s results.")
    if strict:
        check_dataset(folder)
    made = makers(folder)
    if made and program not in made:
        raise InputError(
            f"{folder}: results of {' and '.join(made)}, not of {MAKERS[program]}; give "
            f"{program}=PATH with the folder that {MAKERS[program]} wrote."
        )


def find_all(
    source: Source,
    participants: Sequence[str],
    sessions: Sequence[str] = (),
    filters: dict[str, Any] | None = None,
    database: Path | None = None,
    b0_threshold: float = B0_THRESHOLD,
) -> list[Candidate]:
    """List every image of some participants that might be a scan, as taken or left.

    Parameters
    ----------
    source : Source
    participants : sequence of str
        Labels without ``sub-``.
    sessions, filters, database, b0_threshold
        See :func:`dmri7t.io.inputs.find_scans`.
    """
    how = {"sessions": sessions, "filters": filters, "b0_threshold": b0_threshold}
    if source.kind == "hcp":
        folders = source.folders()
        names = [folders[label].name for label in participants]
        candidates = find_hcp_scans(source.root, names, **how)
    else:
        kind = {"qsiprep": QSIPREP, "derivative": DERIVATIVE}.get(source.kind, RAW)
        how["database"] = database
        candidates = find_scans(source.root, participants, **how, kind=kind)
        if "qsiprep" in source.derivatives:
            reason = "raw; scans are taken from QSIPrep's results (--derivatives)"
            candidates = [Candidate(c.path, c.reason or reason) for c in candidates]
            root = source.derivatives["qsiprep"]
            candidates += find_scans(root, participants, **how, kind=QSIPREP)
    return [_with_anatomy(c, source) for c in candidates]


def _with_anatomy(candidate: Candidate, source: Source) -> Candidate:
    """Add the tissues of QSIPrep, whose space is the scan's, or else of fMRIPrep."""
    scan = candidate.scan
    if scan is None:
        return candidate
    roots = {k: source.derivatives[k] for k in DERIVATIVES if k in source.derivatives}
    if source.kind == "qsiprep":
        roots = {"qsiprep": source.root, **roots}
    found = (find_anatomy(root, name, scan.entities) for name, root in roots.items())
    anatomy = next((each for each in found if each), None)
    return attrs.evolve(candidate, scan=attrs.evolve(scan, anatomy=anatomy))


UNCORRECTED = {
    "raw": "raw: neither motion nor distortion was corrected, and dmri7t corrects neither. QSIPrep "
    "does: give its results instead, or --derivatives qsiprep=PATH.",
    "derivative": "results of another program: what was corrected is not known here, and dmri7t "
    "corrects neither motion nor distortion.",
}
"""What the log says of scans that were not corrected."""


def remarks(source: Source, scans: Sequence[Scan]) -> list[str]:
    """What a user should know of the scans that are taken: corrections, tissues."""
    lines = []
    for kind, text in UNCORRECTED.items():
        n = sum(scan.kind == kind for scan in scans)
        if n:
            lines.append(f"{n} {'scan is' if n == 1 else 'scans are'} {text}")
    for scan in scans:
        if scan.anatomy:
            files = ", ".join(source.place(file) for file in scan.anatomy.files)
            lines.append(f"{scan.stem}: figures by tissue from {scan.anatomy.maker} ({files})")
        elif "fmriprep" in source.derivatives:
            lines.append(
                f"{scan.stem}: no figures by tissue: fMRIPrep has no dseg or label-GM, -WM and "
                "-CSF probseg with a desc-brain_mask in the space of the T1w for it"
            )
    return lines
