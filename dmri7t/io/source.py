"""Where scans come from: an input of one kind, alone or with what lies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import attrs

from dmri7t.errors import InputError
from dmri7t.io.anatomy import FMRIPREP, Program, find_anatomy
from dmri7t.io.dataset import check_dataset, makers
from dmri7t.io.images import frames_remark
from dmri7t.io.kinds.registry import KINDS, Kind, kind_named, programs, recognise
from dmri7t.io.masks import with_masks
from dmri7t.io.noise_maps import noise_remark
from dmri7t.io.parts import join_parts, part_remarks
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query
from dmri7t.io.sidecars import field_remark, valid_fields
from dmri7t.io.volumes import without, without_volumes
from dmri7t.signal.gradients import B0_THRESHOLD


@attrs.frozen
class Source:
    """The data sets of a run.

    Parameters
    ----------
    root : Path
        The input: it names the participants.
    kind : Kind
        What it is.
    derivatives : dict
        Folder by program, of :func:`dmri7t.io.kinds.registry.programs`.
    """

    root: Path
    kind: Kind
    derivatives: dict[str, Path] = attrs.Factory(dict)

    @property
    def links(self) -> dict[str, Path]:
        """Folders by their names in BIDS URIs, that of the input first."""
        return {self.kind.link: self.root, **self.derivatives}

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Folder of every participant by label."""
        return self.kind.folders(self.root)

    @property
    def labels(self) -> list[str]:
        """Labels of all participants, sorted."""
        return sorted(self.folders)

    def find(self, query: Query) -> list[Candidate]:
        """List every image of some participants that might be a scan, as taken or skipped.

        Where scans of a kind lie beside the input, they are taken instead of its own.
        """
        candidates = self.kind.find(self.root, query)
        replacing = [KINDS[name] for name in self.derivatives if name in KINDS]
        if replacing:
            titles = " and ".join(kind.title for kind in replacing)
            reason = f"raw; scans are taken from {titles} (--derivatives)"
            candidates = [Candidate(c.path, c.reason or reason) for c in candidates]
        for kind in replacing:
            candidates += kind.find(self.derivatives[kind.name], query)
        candidates = with_masks(candidates, query.brain_mask)
        candidates = without_volumes(candidates, query.excluded)
        if not query.separate:
            candidates = join_parts(candidates, query.b0_threshold)
        return [self._with_anatomy(candidate) for candidate in candidates]

    def scans(self, label: str) -> list[Scan]:
        """All scans of a participant, of any field, with a label of :attr:`labels`.

        Parts of one acquisition are not joined: who measures models takes each for itself.
        """
        query = Query([label], any_field=True, separate=True)
        return [c.scan for c in self.find(query) if c.scan is not None]

    def _with_anatomy(self, candidate: Candidate) -> Candidate:
        """Add tissues: of the program that wrote the scan, or else of another."""
        scan = candidate.scan
        if scan is None:
            return candidate
        folders = dict(self.derivatives)
        if self.kind.program is not None:
            folders[self.kind.program.name] = self.root
        anatomies = (
            find_anatomy(folders[name], program, scan.entities)
            for name, program in programs().items()
            if name in folders
        )
        anatomy = next((each for each in anatomies if each), None)
        return attrs.evolve(candidate, scan=attrs.evolve(scan, anatomy=anatomy))

    def by_session(self, label: str) -> dict[str, Scan]:
        """First scan of each session of a participant.

        Parameters
        ----------
        label : str
            Of :attr:`labels`.

        Raises
        ------
        InputError
            If a file is missing without which there is no scan.
        """
        scans = self.kind.by_session(self.folders[label])
        # what a sidecar leaves out is left out of training, too
        return {name: without(scan) for name, scan in scans.items()}

    def describe(self) -> str:
        """What the input is, for the log."""
        beside = [f"{programs()[name].title}'s results" for name in self.derivatives]
        own = self.kind.describe(self.root)
        return ", with ".join([own, " and ".join(beside)] if beside else [own])

    def relative_name(self, path: Path) -> str:
        """Name of a file within its data set; that of another data set than the input comes first.

        Examples
        --------
        >>> source = Source(Path("/d"), KINDS["raw"], {"qsiprep": Path("/d/derivatives/q")})
        >>> [source.relative_name(Path(name)) for name in ("/d/sub-1/a", "/d/derivatives/q/b")]
        ['sub-1/a', 'qsiprep: b']
        """
        # derivatives may lie within the input
        for name, folder in self.derivatives.items():
            if folder in path.parents:
                return f"{name}: {path.relative_to(folder).as_posix()}"
        # what the user names may lie anywhere
        inside = self.root in path.parents
        return path.relative_to(self.root).as_posix() if inside else str(path)

    def without_folders(self, text: str) -> str:
        """Take the data sets' folders out of a sentence: where they lie is no one's concern."""
        for folder in (*self.derivatives.values(), self.root):
            text = text.replace(f"{folder}/", "")
        return text


def open_source(
    root: Path,
    input_type: str = "auto",
    derivatives: dict[str, Path] | None = None,
    strict: bool = True,
) -> Source:
    """See what a folder is, and what lies beside it.

    Parameters
    ----------
    root : Path
    input_type : str
        Of :func:`dmri7t.io.kinds.registry.input_types`; "auto" looks at dataset_description.json,
        then at names.
    derivatives : dict, optional
        Folder by program, of :func:`dmri7t.io.kinds.registry.programs`.
    strict : bool
        Whether data sets must have a dataset_description.json, where their kind has one.

    Raises
    ------
    InputError
        If a folder is missing, is not what it was said to be, or cannot be used.
    """
    root = _folder(root)
    if input_type == "auto":
        kind = recognise(root)
        kind.check_unasked(root)
    else:
        kind = recognise(root, input_type)
    kind.check(root, strict)
    beside = {}
    for name, folder in (derivatives or {}).items():
        beside[name] = Path(folder).absolute()
        _check_beside(programs()[name], beside[name], strict)
    replacing = next((name for name in beside if name in KINDS), "")
    if replacing and kind.resampled_by:
        raise InputError(
            f"{root}: --derivatives {replacing}=PATH goes with raw data, and this is {kind.title}; "
            "give the one or the other."
        )
    return Source(root, kind, beside)


def open_dataset(root: Path) -> Source:
    """Open a data set of any kind as it stands, whoever made it.

    Raises
    ------
    InputError
        If there is no such folder, or no participant in it.
    """
    source = Source(_folder(root), recognise(Path(root).absolute()))
    if not source.folders:
        layouts = " or ".join(dict.fromkeys(kind.layout for kind in KINDS.values()))
        raise InputError(
            f"{root}: no participant's folder ({layouts}); give the folder that holds the "
            "participants."
        )
    return source


def _folder(root: Path) -> Path:
    root = Path(root).absolute()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the root of a data set.")
    return root


def _check_beside(program: Program, folder: Path, strict: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the root of {program.title}'s results.")
    if strict:
        check_dataset(folder)
    names = makers(folder)
    if names and program.name not in names:
        raise InputError(
            f"{folder}: results of {' and '.join(names)}, not of {program.title}; give "
            f"{program.name}=PATH with the folder that {program.title} wrote."
        )


def scan_remarks(scan: Scan) -> list[str]:
    """What header and sidecar of a scan say that nobody would expect."""
    lines = []
    for part in scan.series:
        own = [field_remark(part.sidecar), frames_remark(part.dwi), noise_remark(part.dwi)]
        if dropped := valid_fields(part.sidecar)[1]:
            own.append(f"its sidecar is no valid BIDS: {'; '.join(dropped)}; left out of ours")
        lines += [*own, *kind_named(part.kind).remarks(part)]
    # what holds for all parts is said once
    return list(dict.fromkeys(line for line in lines if line))


def remarks(
    source: Source,
    scans: Sequence[Scan],
    b0_threshold: float = B0_THRESHOLD,
    separate: bool = False,
) -> list[str]:
    """What a user should know of the scans that are taken: corrections, parts, tissues.

    Parameters
    ----------
    source : Source
    scans : sequence of Scan
    b0_threshold, separate
        See :func:`dmri7t.io.parts.part_remarks`.
    """
    lines = []
    for name in dict.fromkeys(scan.kind for scan in scans):
        n = sum(scan.kind == name for scan in scans)
        if remark := kind_named(name).remark:
            lines.append(f"{n} {'scan is' if n == 1 else 'scans are'} {remark}")
    lines += part_remarks(scans, b0_threshold, separate)
    for scan in scans:
        lines += [f"{scan.stem}: {remark}" for remark in scan_remarks(scan)]
        if scan.anatomy:
            files = ", ".join(source.relative_name(file) for file in scan.anatomy.files)
            lines.append(f"{scan.stem}: metrics by tissue from {scan.anatomy.maker} ({files})")
        elif FMRIPREP.name in source.derivatives:
            lines.append(
                f"{scan.stem}: no metrics by tissue: fMRIPrep has no dseg or label-GM, -WM and "
                "-CSF probseg with a desc-brain_mask in the space of the T1w for it"
            )
    return lines
