"""
From a raw scan to a report
===========================

You have a BIDS data set with 3T diffusion scans. At the end of this page each has a 7T-like scan,
maps, and a report to look at.
"""

# %%
# A data set
# ----------
#
# Take yours, or this small one. ``run`` prints a command and what the command prints; in a
# terminal you type what follows the dollar sign.

import json

import matplotlib.pyplot as plt
import pandas as pd
from tutorial import DATA, FIRST_RUN, FOLDER, RESULT, axial, files, run

run(DATA)
files("study")

# %%
# Each participant has an image, its b-values and directions, and a sidecar. dmri7t needs nothing
# else: no T1-weighted image, no brain mask.
#
# Motion and distortion stay in a scan as they are. If yours were not corrected yet, run QSIPrep
# first: see :doc:`2_qsiprep_to_qsirecon`.
#
# Look before you run
# -------------------
#
# ``--dry-run`` says which scans would be taken, and computes nothing.

run("dmri7t study study-7Tlike participant --dry-run")

# %%
# Run
# ---
#
# One participant here. Without ``--participant-label`` all of them are taken. ``-w`` names a
# folder for intermediate files: if the run is interrupted, the same command goes on where it
# stopped.

run(FIRST_RUN)

# %%
# What is there now
# -----------------
#
# :doc:`../outputs` explains each file. The one that you came for ends in
# ``desc-7Tlike_dwi.nii.gz``.

files("study-7Tlike", "*.nii.gz")
files("study-7Tlike", "*.html")

# %%
# One diffusion-weighted volume before and after, and the fractional anisotropy of the result:

out = FOLDER / "study-7Tlike"
before = axial(FOLDER / "study" / f"{RESULT}_dwi.nii.gz", volume=5)
after = axial(out / f"{RESULT}_desc-7Tlike_dwi.nii.gz", volume=5)
fa = axial(out / f"{RESULT}_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz")

figure, axes = plt.subplots(1, 3, figsize=(10, 4.8), layout="constrained")
white = after.max()
for ax, picture, title, highest in (
    (axes[0], before, f"before, {before.shape[0]} rows", white),
    (axes[1], after, f"after, {after.shape[0]} rows", white),
    (axes[2], fa, "FA after", 1),
):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=highest)
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %%
# Outside the brain the result is zero. The grid is finer, and there is less noise.
#
# Did it help?
# ------------
#
# dmri7t leaves some directions of the scan out, foretells them from the others, and compares with
# what was measured. The error of plain interpolation is 1. The table of quality has this for every
# shell:

table = pd.read_table(out / f"{RESULT}_desc-quality_dwi.tsv", index_col=0)
columns = ["held_out_filter", "held_out_model", "held_out_result"]
columns += ["held_out_mppca_in_block", "held_out_result_in_block"]
print(table.loc["b1000", columns].to_string())

# %%
# The last two compare with MP-PCA, in a block in the middle of the brain. This head was drawn by a
# few formulas, and few patterns are what MP-PCA is best at. On real scans it was the other way
# round (:doc:`../should_i_use_it`); of yours, the report says which.
#
# The same stands in the sidecar of the scan, with the part that the training-free filter and the
# trained model have in each angular order of the result (orders 0, 2, 4; 0 is nothing, 1 is all):

sidecar = json.loads((out / f"{RESULT}_desc-7Tlike_dwi.json").read_text())
print(json.dumps(sidecar["Weighing"], indent=2))

# %%
# What to look at
# ---------------
#
# Open ``study-7Tlike/sub-01.html`` in a browser; :doc:`../report` goes through it. First the line
# on top, then the boxes, if there are any, then FA before and after. Here a box is right: this is
# no adult's head.
#
# What not to conclude
# --------------------
#
# - An error below 1 says that the signal is nearer to what was measured, on the scan's own grid.
#   It does not say that a detail of the finer grid is real.
# - A picture that looks sharper is not evidence. The numbers above are.
# - No box does not mean a healthy brain: dmri7t is no detector of lesions, and the result is not
#   for diagnosis.
