"""What a kind of input decides, and how BIDS decides it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from dmri7t.errors import InputError
from dmri7t.io.anatomy import Program
from dmri7t.io.dataset import check_dataset, participant_labels
from dmri7t.io.images import load_image
from dmri7t.io.interpolation import describe_interpolation
from dmri7t.io.masks import mask_beside
from dmri7t.io.names import bids_label
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import BidsIndex, Query

NOTHING_HERE = (
    "no correction for motion, eddy currents or susceptibility distortion was made in these steps"
)


class Kind:
    """A kind of input. This one is BIDS' own layout, and stands for scans of unknown origin.

    Subclasses, a module each, say what is otherwise.

    Attributes
    ----------
    name : str
        What becomes ``kind`` of a scan.
    input_type : str
        How ``--input-type`` asks for it; several kinds may share a word.
    title : str
        What such data are, for sentences.
    layout : str
        Where scans lie in it, for messages.
    link : str
        Name of the data set in BIDS URIs.
    validated : bool
        Whether the BIDS validator is asked.
    resampled_by : str
        Who resampled the scans; empty: nobody, so that noise and ringing can be taken out.
    program : Program, optional
        Who wrote such data, where its tissues are used. Its results may lie beside raw data: then
        its scans are taken instead.
    remark : str
        What the log says of its scans after "3 scans are"; empty: nothing.
    methods : str
        What the methods say of corrections.
    heading, caveat : str
        What the report says of corrections.
    usage : str
        What the docs say of it, reStructuredText; the first lines have its name in bold.
    """

    name: str = ""
    input_type: str = "bids"
    title: str = "a data set"
    layout: str = "sub-<label>"
    link: str = "raw"
    validated: bool = False
    resampled_by: str = ""
    program: Program | None = None
    remark: str = ""
    methods: str = f"N{NOTHING_HERE[1:]}."
    heading: str = "It was used as it is"
    caveat: str = (
        "dmri7t does not correct motion, eddy currents or susceptibility distortion: whatever of "
        "them is in the input is in the output too. Correct them before, where it matters."
    )
    usage: str = ""

    def recognises(self, root: Path) -> bool:
        """Whether a folder that nobody named is of this kind.

        Raises
        ------
        InputError
            If its dataset_description.json is not readable.
        """
        return False

    def check_unasked(self, root: Path) -> None:
        """Refuse a folder that was recognised, if such data are taken only when asked for.

        Raises
        ------
        InputError
        """

    def check(self, root: Path, strict: bool) -> None:
        """See that a folder can be what it is said to be.

        Parameters
        ----------
        root : Path
        strict : bool
            Whether what BIDS demands is demanded.

        Raises
        ------
        InputError
        """
        if strict:
            check_dataset(root)

    def check_unsampled(self, dwi: Path) -> None:
        """Refuse to take noise and ringing out of a scan that is no more as it was acquired.

        Raises
        ------
        InputError
        """
        if self.resampled_by:
            raise InputError(
                f"{dwi}: comes from {self.resampled_by}, which resampled it; --denoise and --gibbs "
                "are for raw scans: leave them out."
            )

    def describe(self, root: Path) -> str:
        """Say what a data set is, for the log."""
        return self.title

    def folders(self, root: Path) -> dict[str, Path]:
        """Folder of every participant by label, sorted."""
        return {label: root / f"sub-{label}" for label in participant_labels(root)}

    def label(self, name: str) -> str:
        """Label of a participant as the user may name it."""
        return name

    def find(self, root: Path, query: Query) -> list[Candidate]:
        """List every image of some participants that might be a scan, as taken or skipped.

        Only names and gradient files are read; :func:`dmri7t.io.checks.check_scan` looks closer at
        those that were taken.

        Parameters
        ----------
        root : Path
        query : Query

        Returns
        -------
        list of Candidate
            In the order of their paths.
        """
        index = BidsIndex.of(root, query.participants, query.database)
        candidates = [Candidate(path, reason) for path, reason in index.unreadable.items()]
        taken: dict[str, Path] = {}
        for path, entities in index.images:
            reason = query.why_skipped(entities) or self.why_skipped(path)
            scan = None if reason else self.complete(index.scan(path, self.name, self.link))
            if scan is not None:
                reason = query.why_unweighted(scan.bval) or query.why_other_field(scan.sidecar)
                if not reason and scan.stem in taken:
                    reason = f"its results would have the names of those of {taken[scan.stem].name}"
            if scan is None or reason:
                candidates.append(Candidate(path, reason))
                continue
            taken[scan.stem] = path
            candidates.append(Candidate(path, scan=scan))
        return sorted(candidates, key=lambda candidate: candidate.path)

    def why_skipped(self, path: Path) -> str:
        """Reason to skip an image with the suffix ``dwi`` by its path; empty if there is none."""
        return ""

    def complete(self, scan: Scan) -> Scan:
        """Add to a scan what lies beside it: its brain mask, if there is one."""
        return attrs.evolve(scan, mask=mask_beside(scan.dwi))

    def remarks(self, scan: Scan) -> list[str]:
        """What the log says of one scan that is taken."""
        if self.resampled_by:
            return []
        how = describe_interpolation(scan.sidecar, load_image(scan.dwi).shape)
        finer = f"the scanner interpolated it ({how}): its voxels are finer than what was measured"
        return [finer] if how else []

    def by_session(self, folder: Path) -> dict[str, Scan]:
        """First scan of each session of a participant, "" where there are none.

        Parameters
        ----------
        folder : Path
            Of the participant, see :meth:`folders`.
        """
        scans: dict[str, Scan] = {}
        query = Query([folder.name.removeprefix("sub-")], any_field=True)
        for candidate in self.find(folder.parent, query):
            if candidate.scan is not None:
                scans.setdefault(candidate.scan.entities.get("ses", ""), candidate.scan)
        return scans


class SubjectFolders(Kind):
    """Not BIDS: a folder a subject, which can have more letters in its name than a label."""

    def recognises(self, root: Path) -> bool:
        """By names of files or folders, where there is no dataset_description.json."""
        return not (root / "dataset_description.json").exists() and bool(self.folders(root))

    def label(self, name: str) -> str:
        """Folders can have more letters than BIDS allows."""
        return bids_label(name)

    def by_label(self, folders: Iterable[Path]) -> dict[str, Path]:
        """Folders by their labels.

        Raises
        ------
        InputError
            If results of two would have one name, or those of one none.
        """
        found: dict[str, Path] = {}
        for folder in sorted(folders):
            label = self.label(folder.name)
            if not label:
                raise InputError(f"{folder}: has no letter or digit in its name; rename it.")
            if label in found:
                raise InputError(
                    f"{folder}: its results would have the names of those of {found[label].name} "
                    f"(sub-{label}); rename one of the two."
                )
            found[label] = folder
        return found
