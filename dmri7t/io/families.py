"""Which family each subject belongs to, from the Human Connectome Project's table or a like one."""

from __future__ import annotations

import csv
from pathlib import Path

from dmri7t.errors import InputError
from dmri7t.io.names import bids_label
from dmri7t.io.texts import read_text

SUBJECT_COLUMNS = ("subject", "participant_id")
FAMILY_COLUMN = "family_id"


def read_families(path: Path) -> dict[str, str]:
    """Read which family each subject belongs to.

    Parameters
    ----------
    path : Path
        Table with the columns ``Subject`` (or ``participant_id``) and ``Family_ID``, in any
        case, parted by commas or tabs.

    Returns
    -------
    dict of str
        Family by BIDS label; subjects without an entry are left out.

    Raises
    ------
    InputError
        If the file cannot be read or lacks one of the columns.
    """
    text = read_text(path)
    table = csv.reader(text.splitlines(), delimiter="\t" if "\t" in text else ",")
    head, *rows = [*table] or [[]]
    columns = [name.strip().lower() for name in head]
    subject = next((columns.index(name) for name in SUBJECT_COLUMNS if name in columns), None)
    if subject is None or FAMILY_COLUMN not in columns:
        raise InputError(
            f"{path}: needs the columns Subject (or participant_id) and Family_ID, and has "
            f"{', '.join(head) or 'none'}; add them."
        )
    family = columns.index(FAMILY_COLUMN)
    pairs = [(r[subject].strip(), r[family].strip()) for r in rows if len(r) == len(columns)]
    return {bids_label(label): name for label, name in pairs if label and name}
