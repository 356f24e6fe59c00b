"""What the paper printed, to be read beside what is measured at HCP's protocol.

Zhu et al., MICCAI 2024 (arXiv 2408.12897): 17 HCP subjects a fold, ten folds, b = 1000, mean and
spread over subjects. The truth was a real 7T scan with noise of its own, and no row of plain
interpolation was printed; here the subjects are simulated and their truth is without noise. So the
orders of magnitude compare, the digits do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmri7t.evaluation.case import MAPS

ROWS = ("CNN", "GAN", "diffusion")
"""Methods of the paper's table 1; the last is its own."""

NMSE = (
    ("0.126 ± 0.014", "0.143 ± 0.011", "0.495 ± 0.107", "0.053 ± 0.007"),
    ("0.129 ± 0.029", "0.427 ± 0.051", "1.652 ± 0.360", "0.118 ± 0.009"),
    ("0.105 ± 0.026", "0.102 ± 0.017", "0.158 ± 0.031", "0.044 ± 0.008"),
)
SSIM = (
    ("0.889 ± 0.008", "0.959 ± 0.006", "0.956 ± 0.016", "0.958 ± 0.006"),
    ("0.915 ± 0.012", "0.893 ± 0.010", "0.943 ± 0.004", "0.902 ± 0.010"),
    ("0.922 ± 0.009", "0.961 ± 0.007", "0.967 ± 0.002", "0.966 ± 0.007"),
)
"""Of R0, R2, R4 and FA, a row a method."""

ABLATION = (("neither", "0.046", "0.962"), ("ldm-ft", "0.044", "0.966"), ("both", "0.042", "0.967"))
"""NMSE and SSIM of FA without fine-tuning and super-resolution, with the first, with both."""


def published_tables() -> str:
    """The paper's own figures as tables in Markdown.

    Examples
    --------
    >>> print(published_tables().splitlines()[2])
    | NMSE, as published | R0 | R2 | R4 | FA |
    """
    parts = [
        "The paper's own figures (Zhu et al., MICCAI 2024), on real HCP pairs whose 7T has noise; "
        "here subjects are simulated and the truth has none, so digits do not compare.\n"
    ]
    for title, values in (("NMSE", NMSE), ("SSIM", SSIM)):
        rows = [(name, *row) for name, row in zip(ROWS, values, strict=True)]
        parts.append(_table((f"{title}, as published", *MAPS), rows))
    parts.append(_table(("FA, as published", "NMSE", "SSIM"), ABLATION))
    return "\n".join(parts)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [" | ".join(row) for row in (header, *rows)]
    rule = "|".join(["---"] * len(header))
    first, *others = (f"| {line} |" for line in lines)
    return "\n".join([first, f"|{rule}|", *others]) + "\n"
