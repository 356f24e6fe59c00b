"""Draw the pictures of the documentation, out of the data set and the report of ``make demo``.

make demo
.venv/bin/python docs/pictures.py

The report is photographed in Chromium; where there is none, its picture stays as it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nibabel
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "workflows")]

from browser import CHROMIUM, Browser  # noqa: E402

from dmri7t.io.derivatives import OUTPUTS  # noqa: E402

STEM = "sub-sim001000/ses-3T/dwi/sub-sim001000_ses-3T"
"""How the names of the scan and of its results begin."""

IMAGES = Path(__file__).parent / "images"

HEIGHT = 0.52
"""Of the slice, from 0, the lowest, to 1."""

STEP = 1.05 / 1.25
"""From the scan's voxels to those of the result."""

VOLUME = 9
"""Of the diffusion-weighted ones that are shown."""

MARKS = {
    ".verdict": "1",
    ".bar .button": "2",
    ".jump": "3",
    "figure.flickers .stack > label": "4",
}
"""What is numbered on the report, by the number that docs/report.rst explains."""


def axial(path: Path, volume: int = 0) -> np.ndarray:
    """Axial slice (rows, columns), front up and the patient's right on the left."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    index = round(HEIGHT * (image.shape[2] - 1))
    data = np.asanyarray(image.dataobj[:, :, index, ...])
    data = data[..., volume] if data.ndim == 3 else data
    return data[::-1, ::-1].T.astype(float)


def show(ax: Axes, values: np.ndarray, title: str, white: float | None = None) -> None:
    """Draw one slice; white is a high percentile where nothing else is said."""
    white = white or float(np.percentile(values, 99.5))
    ax.imshow(values, cmap="gray", vmin=0, vmax=white)
    ax.set_title(title, fontsize=9)
    ax.axis("off")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as a JPEG of a size that fits a page."""
    figure.savefig(IMAGES / name, dpi=100, pil_kwargs={"quality": 78})
    plt.close(figure)


def draw_stages(demo: Path) -> None:
    """One slice through all stages: what goes in above, what comes out below."""
    scan, made = demo / "bids" / f"{STEM}_dwi.nii.gz", f"{demo / 'out' / STEM}_"
    figure, axes = plt.subplots(2, 6, figsize=(13, 6.2), layout="constrained")
    n_b0 = 3
    before = axial(scan, n_b0 + VOLUME)
    after = axial(Path(f"{made}desc-7Tlike_dwi.nii.gz"), n_b0 + VOLUME)
    white = float(np.percentile(after, 99.8))
    show(axes[0, 0], before, "1 read: one of 30 directions", white)
    show(axes[0, 1], axial(scan), "2 prepare: b0 and brain mask")
    mask = axial(Path(f"{made}desc-brain_mask.nii.gz"))
    # voxels of the finer grid, in those of the scan; both grids have the same middle
    y, x = (
        (np.arange(n) - (n - 1) / 2) * STEP + (m - 1) / 2
        for n, m in zip(mask.shape, before.shape, strict=True)
    )
    axes[0, 1].contour(x, y, mask, [0.5], colors="#ffc400", linewidths=1.2)
    for column, order in enumerate((0, 2, 4)):
        native, generated = (
            np.sqrt(axial(Path(f"{made}model-sh_param-rish{order}_desc-{desc}_dwimap.nii.gz")))
            for desc in ("native", "7Tlike")
        )
        top = float(np.percentile(generated, 99.5))
        show(axes[0, 2 + column], native, f"4 represent: R{order}", top)
        show(axes[1, column], generated, f"5 to 8: R{order} on the finer grid", top)
    _draw_evidence(axes[0, 5], Path(f"{made}desc-quality_dwi.json"))
    show(axes[1, 3], after, "9 harmonize: the same direction", white)
    tensor = f"{made}model-tensor_param-"
    show(axes[1, 4], axial(Path(f"{tensor}fa_desc-7Tlike_dwimap.nii.gz")), "10 measure: FA", 0.9)
    show(axes[1, 5], axial(Path(f"{tensor}md_desc-7Tlike_dwimap.nii.gz")), "10 measure: MD", 2e-3)
    save(figure, "stages.jpg")


def _draw_evidence(ax: Axes, path: Path) -> None:
    """Errors along directions that were left out, over that of interpolation."""
    (shell,) = json.loads(path.read_text())["shells"]
    errors = {"interpolation": 1.0}
    errors |= {error["name"]: error["ratio"] for error in shell["evidence"]["errors"]}
    ax.barh(list(errors), list(errors.values()), color=["#b4bfc9", *["#9cc7e4"] * 3])
    for place, (name, error) in enumerate(errors.items()):
        ax.text(0.03, place, f"{name} {error:.2f}", va="center", fontsize=8)
    ax.set_title("4b weigh: error along\ndirections left out", fontsize=9)
    ax.set(xlim=(0, 1.1), xticks=[], yticks=[])
    ax.invert_yaxis()
    ax.spines[["top", "right", "bottom"]].set_visible(False)


def draw_outputs(demo: Path) -> None:
    """Every image that a run writes, by the ending of its name."""
    images = [row.suffix for row in OUTPUTS.values() if "bids" in row.layouts]
    images = [suffix for suffix in images if suffix.endswith(".nii.gz")]
    columns = 5
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 3.1 * rows), layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, suffix in zip(axes.flat, images, strict=False):
        values = axial(Path(f"{demo / 'out' / STEM}{suffix}"), VOLUME if "_dwi." in suffix else 0)
        title = suffix.removesuffix(".nii.gz").removesuffix("_dwimap").replace("_desc", "\n_desc")
        show(ax, values, title.strip("\n"), 1.0 if "mask" in suffix else None)
    save(figure, "outputs.jpg")


def draw_demo(demo: Path) -> None:
    """FA before and after in one row of slices each, as the report has them."""
    figures = demo / "out" / STEM.partition("/")[0] / "figures"
    sides = [Image.open(figures / f"{Path(STEM).name}_fa_{s}.jpg") for s in ("before", "after")]
    width, height = sides[0].size
    row = 392  # pixels down to the end of the first row of slices
    sheet = Image.new("RGB", (width, 2 * row))
    for i, side in enumerate(sides):
        sheet.paste(side.crop((0, 0, width, row)), (0, i * row))
    sheet.save(IMAGES / "demo.jpg", quality=82)


def draw_report(demo: Path) -> None:
    """Photograph the head of the demo's report, with numbers on its parts."""
    badge = (
        "position:absolute;z-index:9;width:34px;height:34px;border-radius:17px;color:#fff;"
        "background:#c2410c;font:bold 20px/34px sans-serif;text-align:center;"
        "box-shadow:0 0 0 3px #fff"
    )
    script = f"""(() => {{
        for (const [place, number] of Object.entries({json.dumps(MARKS)})) {{
            const part = document.querySelector(place);
            if (!part) continue;
            const box = part.getBoundingClientRect(), mark = document.createElement("div");
            mark.style.cssText = {json.dumps(badge)};
            mark.style.left = Math.max(2, box.left + scrollX - 40) + "px";
            mark.style.top = (box.top + scrollY - 4) + "px";
            mark.textContent = number;
            document.body.append(mark);
        }}
        return true;
    }})()"""
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder), 1240, 1560) as browser:
        browser.open(demo / "out" / f"{STEM.partition('/')[0]}.html")
        browser.wait_for("document.readyState == 'complete'")
        browser.run("document.querySelector('.pause input').click()")
        browser.wait_for("[...document.images].slice(0, 3).every(image => image.complete)")
        browser.run(script)
        shot = Image.open(browser.screenshot(Path(folder) / "report.png")).convert("RGB")
        shot.resize((930, 930 * shot.height // shot.width)).save(IMAGES / "report.jpg", quality=82)


def main() -> None:
    """Draw all of them."""
    demo = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "demo"
    IMAGES.mkdir(exist_ok=True)
    draw_stages(demo)
    draw_outputs(demo)
    draw_demo(demo)
    if CHROMIUM:
        draw_report(demo)
    else:
        print("report.jpg: not drawn, there is no Chromium; install Debian's chromium.")


if __name__ == "__main__":
    main()
