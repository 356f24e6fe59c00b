"""The methods text of a run: for the page, and as files to paste and to cite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmri7t.files import write_whole
from dmri7t.reports.citations import cited
from dmri7t.reports.records import software_versions

STEM = "CITATION"

SOFTWARE = {
    "nipype": ("Nipype", "Gorgolewski et al. 2011"),
    "monai": ("MONAI", "Cardoso et al. 2022"),
}
"""Name and citation of packages that every methods text cites where their version is given."""


def methods_text(scans: Sequence[tuple[str, str]], versions: dict[str, str]) -> str:
    """Methods of scans; what several of them share is said once.

    Where the scans differ, each paragraph that does not hold for all names its scans.

    Parameters
    ----------
    scans : sequence of (name, text)
        Paragraphs of each scan's methods; scans without are left out.
    versions : dict
        Version by package; see :func:`dmri7t.reports.records.software_versions`.
    """
    texts = [(stem, text.split("\n\n")) for stem, text in scans if text]
    stems_of: dict[str, list[str]] = {}
    for stem, paragraphs in texts:
        for paragraph in paragraphs:
            stems_of.setdefault(paragraph, []).append(stem)
    written = [
        paragraph if len(stems) == len(texts) else f"({_some(stems)}) {paragraph}"
        for paragraph, stems in stems_of.items()
    ]
    used = [
        f"{name} {versions[package]} [{citation}]"
        for package, (name, citation) in SOFTWARE.items()
        if package in versions
    ]
    if used and "dmri7t" in versions:
        written.append(f"All steps ran in dmri7t {versions['dmri7t']}, with {', '.join(used)}.")
    return "\n\n".join(written)


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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
    paths = []
    for ending, content in contents.items():
        paths.append(Path(log_dir) / f"{STEM}.{ending}")
        write_whole(paths[-1], content)
    return paths
