"""The search for scans: what is asked for, and the index of a BIDS data set."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.io.gradients import looks_small, read_bvals
from dmri7t.io.mif import is_mif, read_gradients
from dmri7t.io.names import LONG_NAMES, SCAN_ENDINGS, applicable, split_name, why_other_ending
from dmri7t.io.scan import Scan
from dmri7t.io.sidecars import why_other_field
from dmri7t.io.texts import read_json
from dmri7t.signal.gradients import B0_THRESHOLD

OTHER_FOLDERS = (
    "anat|func|fmap|perf|eeg|meg|ieeg|pet|micr|beh|motion|nirs|mrs|figures|log|logs|xfm|transforms"
)
"""Folders of a subject that hold no diffusion scans."""


@attrs.frozen
class Query:
    """Which scans are asked for.

    Parameters
    ----------
    participants : sequence of str
        Labels without ``sub-``.
    sessions : sequence of str
        Labels without ``ses-``; empty: all.
    filters : dict
        Entities that a scan must have, as in fMRIPrep's ``--bids-filter-file`` under ``dwi``: a
        value, a list of values, None for none, ``"*"`` for any.
    database : Path, optional
        Folder for pybids' index. It is used again as long as the names of the files are the same.
    b0_threshold : float
        Series with nothing above this b-value (s/mm2) are skipped.
    brain_mask : str
        Which brain masks are used instead of those beside the scans, see
        :func:`dmri7t.io.masks.mask_named`; ``"none"``: none.
    excluded : sequence of int
        Volumes to leave out of every scan, see :mod:`dmri7t.io.volumes`.
    any_field : bool
        Whether scans of another field strength are taken, too: those of pairs.
    separate : bool
        Whether parts of one acquisition stay scans by themselves, see :mod:`dmri7t.io.parts`.
    """

    participants: Sequence[str]
    sessions: Sequence[str] = ()
    filters: Mapping[str, Any] = attrs.Factory(dict)
    database: Path | None = None
    b0_threshold: float = B0_THRESHOLD
    brain_mask: str = ""
    excluded: Sequence[int] = ()
    any_field: bool = False
    separate: bool = False

    def why_skipped(self, entities: Mapping[str, Any]) -> str:
        """Reason to skip an image by the entities of its name; empty if there is none.

        Examples
        --------
        >>> Query(["1"]).why_skipped({"suffix": "dwi", "part": "phase"})
        'part-phase: only magnitude images are used'
        >>> Query(["1"], filters={"run": [2, 3]}).why_skipped({"suffix": "dwi", "run": 1})
        'the filter asks for run [2, 3]'
        """
        if entities.get("suffix") != "dwi":
            return f"not a diffusion series (suffix {entities.get('suffix', 'unknown')})"
        if self.sessions and entities.get("session") not in self.sessions:
            return f"session {entities.get('session', 'none')} was not asked for"
        for name, wanted in self.filters.items():
            if not _fits(entities.get(LONG_NAMES.get(name, name)), wanted):
                asked = wanted if isinstance(wanted, str) else json.dumps(wanted)
                return f"the filter asks for {name} {asked}"
        if entities.get("part", "mag") != "mag":
            return f"part-{entities['part']}: only magnitude images are used"
        return ""

    def why_other_field(self, sidecar: Mapping[str, Any]) -> str:
        """Reason to skip a scan by its field strength; empty if there is none."""
        return "" if self.any_field else why_other_field(dict(sidecar))

    def why_unweighted(self, bval: Path) -> str:
        """Say that a series has no diffusion weighting, such as one for distortion correction.

        Empty where it has, or where the file cannot be read: the checks say that.
        """
        try:
            bvals = read_bvals(bval)
        except InputError:
            return ""
        # what may be in other units is for the checks to say, which know directions
        if bvals.max() > self.b0_threshold or looks_small(bvals):
            return ""
        return f"b0 only ({len(bvals)} volumes): there is nothing to translate"


def _fits(value: object, wanted: object) -> bool:
    """Whether an entity is what a filter asks for."""
    if isinstance(wanted, list):
        return any(_fits(value, one) for one in wanted)
    if wanted is None or wanted == "*":
        return (value is None) == (wanted is None)
    # a run 01 is the number 1 for pybids, and a string in the filter
    return value is not None and (value == wanted or str(value) == str(wanted))


@attrs.frozen
class BidsIndex:
    """What lies in the dwi folders of some participants.

    Parameters
    ----------
    root : Path
        The data set.
    images : list of (Path, dict)
        Images and the entities of their names by pybids' names, in the order of the paths, those
        of MRtrix last.
    beside : dict
        Paths of all files that end in bval, bvec and json, by this ending.
    unreadable : dict
        Why images of other formats are skipped, by their paths.
    """

    root: Path
    images: list[tuple[Path, dict[str, Any]]]
    beside: dict[str, list[Path]]
    unreadable: dict[Path, str]

    @classmethod
    def of(cls, root: Path, participants: Sequence[str], database: Path | None = None) -> BidsIndex:
        """Index the dwi folders of these participants, nothing else.

        Parameters
        ----------
        root : Path
        participants : sequence of str
            Labels without ``sub-``.
        database : Path, optional
            See :class:`Query`.
        """
        from bids import BIDSLayout, BIDSLayoutIndexer

        root = Path(root).absolute()
        asked = "|".join(re.escape(label) for label in participants)
        ignore = [
            re.compile(rf"^/sub-(?!(?:{asked})(?:/|$))"),
            re.compile(rf"/(?:{OTHER_FOLDERS})(?:/|$)"),
            re.compile(r"^/(?:derivatives|sourcedata|code|stimuli|phenotype)(?:/|$)"),
            re.compile(r"/\."),
            # bytes that are no UTF-8, which no name of a scan has, and pybids' table cannot hold
            re.compile(r"[\ud800-\udfff]"),
        ]
        if database is not None:
            # pybids does not notice that files came or went: other files, another index
            names = "\n".join([str(root), *sorted(_names(root, participants))])
            digest = hashlib.sha256(os.fsencode(names)).hexdigest()
            database = Path(database) / digest[:16]

        def index() -> BIDSLayout:
            return BIDSLayout(
                str(root),
                validate=False,
                derivatives=False,
                # names of derivatives have entities of their own, for which filters may ask
                config=["bids", "derivatives"],
                # sidecars are read here, file by file: a broken one must not stop the others
                indexer=BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False),
                database_path=database,
            )

        try:
            layout = index()
        except Exception:
            if database is None:
                raise
            # cut short, or written by another version of pybids
            shutil.rmtree(database, ignore_errors=True)
            layout = index()
        images = layout.get(datatype="dwi", extension=list(SCAN_ENDINGS))
        return cls(
            root,
            [
                (Path(i.path), i.get_entities())
                for i in sorted(images, key=lambda i: (is_mif(i.path), i.path))
            ],
            {
                ending: [Path(f.path) for f in layout.get(suffix="dwi", extension=f".{ending}")]
                for ending in ("bval", "bvec", "json")
            },
            {
                path: reason
                for path in sorted(map(Path, _names(root, participants)))
                if path.parent.name == "dwi" and (reason := why_other_ending(path.name))
            },
        )

    def scan(self, image: Path, kind: str, link: str) -> Scan:
        """Record of the scan of an image; what is wrong with its name or sidecar is its flaw.

        Parameters
        ----------
        image : Path
        kind : str
            Of the data set, see :class:`dmri7t.io.scan.Scan`.
        link : str
            Name of the data set in BIDS URIs.
        """
        ending = next(each for each in SCAN_ENDINGS if image.name.endswith(each))
        name = image.name.removesuffix(ending)
        # where inheritance finds none, the name beside the image is the one that is missed
        nearest = {
            ending: next(
                iter(applicable(image, self.beside[ending])), image.with_name(f"{name}.{ending}")
            )
            for ending in ("bval", "bvec")
        }
        entities, flaw, sidecar = split_name(image), "", {}
        subject = image.relative_to(self.root).parts[0].removeprefix("sub-")
        if entities.get("sub") != subject:
            flaw = (
                f"{image}: lies in sub-{subject}, but its name says otherwise; rename or move it."
            )
            entities = {**entities, "sub": subject}
        for file in reversed(applicable(image, self.beside["json"])):
            try:
                sidecar.update(read_json(file))
            except InputError as error:
                flaw = flaw or str(error)
        grad_b = image.with_name(f"{name}.b")
        if is_mif(image):
            # its header has the gradients, and in the scanner's frame
            nearest, grad_b = {"bval": image, "bvec": image}, image
            try:
                read_gradients(image)
            except InputError as error:
                flaw = flaw or str(error)
        return Scan(
            dwi=image,
            bval=nearest["bval"],
            bvec=nearest["bvec"],
            sidecar=sidecar,
            entities=entities,
            uri=f"bids:{link}:{image.relative_to(self.root).as_posix()}",
            grad_b=grad_b if grad_b.exists() else None,
            kind=kind,
            flaw=flaw,
        )


def _names(root: Path, participants: Sequence[str]) -> Iterator[str]:
    """Names of the files that are indexed."""
    folders = [root]
    for label in participants:
        subject = root / f"sub-{label}"
        for folder in (subject, *subject.glob("ses-*")):
            folders += [folder, folder / "dwi"]
    for folder in folders:
        try:
            yield from (e.path for e in os.scandir(folder) if e.is_file(follow_symlinks=False))
        except OSError:
            continue
