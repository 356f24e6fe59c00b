"""Brain masks: one that lies beside its scan, or that the user names."""

from __future__ import annotations

import glob
import string
from collections.abc import Sequence
from pathlib import Path

import attrs

from dmri7t.errors import InputError
from dmri7t.io.names import IMAGE_ENDINGS, LONG_NAMES, split_name
from dmri7t.io.scan import Candidate, Scan

NO_MASK = "none"
"""What the user says where a mask beside the scan is not to be used."""

OWN_SPACES = ("dwi", "orig", "native")
"""Values of ``space`` that mean the scan's own grid."""


def mask_beside(dwi: Path) -> Path | None:
    """Brain mask in the folder of a scan: ``desc-brain_mask``, or the suffix ``brainmask``.

    Its name has no entity that the scan's name lacks or has otherwise; of several the one that
    says most is taken.
    """
    own = split_name(dwi)
    fitting = []
    for path in sorted(dwi.parent.glob("*mask.nii*")):
        entities, suffix = split_name(path), path.name.split(".")[0].rsplit("_", 1)[-1]
        named = "brain" in entities.pop("desc", "").lower() or suffix == "brainmask"
        if entities.get("space") in OWN_SPACES:
            del entities["space"]
        ending = path.name[path.name.index(".") :]
        if suffix in ("mask", "brainmask") and named and ending in IMAGE_ENDINGS:
            # another session's mask has an entity that differs, one of all runs has fewer
            if entities.items() <= own.items():
                fitting.append((-len(entities), path.name, path))
    return min(fitting)[2] if fitting else None


def mask_named(pattern: str, scan: Scan) -> Path:
    """Brain mask that the user names: a path, in which ``{sub}`` stands for the scan's label.

    So do ``{ses}`` and all other entities of the scan's name, and pybids' long names of them;
    ``*`` and ``?`` stand for any letters. One file must match.

    Raises
    ------
    InputError
        If the scan lacks an entity, or the files that match are none or several.

    Examples
    --------
    >>> from dmri7t.io.scan import Scan
    >>> scan = Scan(Path("d.nii"), Path("b"), Path("v"), {}, {"sub": "01"}, "bids::d.nii")
    >>> mask_named("/nowhere/sub-{sub}_ses-{ses}.nii", scan)
    Traceback (most recent call last):
    ...
    dmri7t.errors.InputError: d.nii: its name has no ses, which --brain-mask asks for; ...
    """
    entities = {**scan.entities, **{LONG_NAMES.get(k, k): v for k, v in scan.entities.items()}}
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError as error:
        raise InputError(f"--brain-mask {pattern}: not a pattern ({error}); mend it.") from error
    for name in names:
        if name not in entities:
            raise InputError(
                f"{scan.dwi}: its name has no {name or 'entity without a name'}, which "
                f"--brain-mask asks for; it has {', '.join(entities)}."
            )
    # what stands for the label is taken as it is written
    path = pattern.format(**{name: glob.escape(value) for name, value in entities.items()})
    plain = Path(path).expanduser()
    if plain.is_file():
        return plain.absolute()
    matches = sorted(glob.glob(str(plain)))
    if len(matches) != 1:
        several = f"{len(matches)} files match, such as {matches[0]}" if matches else "no such file"
        raise InputError(f"{path}: {several}; --brain-mask needs one brain mask for each scan.")
    return Path(matches[0]).absolute()


def with_masks(candidates: Sequence[Candidate], pattern: str) -> list[Candidate]:
    """Give scans the masks that the user names; empty: they keep what lies beside them.

    That there is no such mask for a scan is its flaw.

    Raises
    ------
    InputError
        If several participants or sessions would share one mask.
    """
    if not pattern:
        return list(candidates)
    scans = [None if c.scan is None else _with_mask(c.scan, pattern) for c in candidates]
    _check_shared([scan for scan in scans if scan is not None and not scan.flaw])
    return [attrs.evolve(c, scan=scan) for c, scan in zip(candidates, scans, strict=True)]


def _with_mask(scan: Scan, pattern: str) -> Scan:
    if pattern == NO_MASK:
        return attrs.evolve(scan, mask=None)
    try:
        return attrs.evolve(scan, mask=mask_named(pattern, scan))
    except InputError as error:
        return attrs.evolve(scan, flaw=scan.flaw or str(error))


def _check_shared(scans: Sequence[Scan]) -> None:
    owners: dict[Path, tuple[str, str]] = {}
    for scan in scans:
        if scan.mask is None:
            continue
        head = scan.entities["sub"], scan.entities.get("ses", "")
        if owners.setdefault(scan.mask, head) != head:
            raise InputError(
                f"{scan.mask}: would be the brain mask of several heads; give --brain-mask a "
                "pattern such as /masks/sub-{sub}_mask.nii.gz, or name one --participant-label."
            )
