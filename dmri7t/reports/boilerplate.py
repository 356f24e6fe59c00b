"""The methods text of a run as files: to paste, and to cite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmri7t.files import whole_file
from dmri7t.reports.citations import cited
from dmri7t.reports.page import methods_text
from dmri7t.reports.records import software_versions

STEM = "CITATION"


def write_boilerplate(scans: Sequence[tuple[str, str]], log_dir: Path) -> list[Path]:
    """Write the methods of scans, with references.

    Parameters
    ----------
    scans : sequence of (name, text)
        Methods of each scan; what several share is said once.
    log_dir : Path
        Folder of the logs.

    Returns
    -------
    list of Path
        CITATION.md and CITATION.bib; each appears under its name when it is whole.
    """
    text = methods_text(scans, software_versions())
    references = cited(text)
    numbered = "\n".join(f"{n}. {r.text}" for n, r in enumerate(references, start=1))
    contents = {
        "md": f"# Methods\n\n{text}\n\n# References\n\n{numbered}\n",
        "bib": "\n\n".join(reference.bibtex for reference in references) + "\n",
    }
    written = []
    for ending, content in contents.items():
        written.append(Path(log_dir) / f"{STEM}.{ending}")
        with whole_file(written[-1]) as part:
            part.write_text(content, encoding="utf-8")
    return written
