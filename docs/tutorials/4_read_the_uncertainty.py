"""
Read the uncertainty
====================

How far may a result be off? dmri7t says it in two ways: by what it measured on the very scan, and
by maps of the error to expect. This page reads both, and holds the maps against the truth, which
a simulation has and a scanner has not.
"""

# %%
# The evidence of the scan
# ------------------------
#
# The scan and the run are those of :doc:`1_scan_to_report`. By default nothing is drawn at random:
# the result is an estimate of least error, the same for every seed.

import json

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from tutorial import DATA, FIRST_RUN, FOLDER, RESULT, axial, needs, noiseless, run

needs(DATA, FIRST_RUN)
out = FOLDER / "study-7Tlike"

quality = json.loads((out / f"{RESULT}_desc-quality_dwi.json").read_text())
evidence = quality["shells"][0]["evidence"]
errors = pd.DataFrame(evidence["errors"]).set_index("name")
print(errors.round(3).to_string())

# %%
# Directions were left out and foretold. ``ratio`` is the squared error over that of interpolation,
# the noise of what was measured taken off both: 1 is as good as interpolation, 0.5 has half its
# error. ``standard_error`` says how sure that is: a ratio within two of them of 1 shows no gain.

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
ax.barh(errors.index, errors["ratio"], xerr=2 * errors["standard_error"], color="#7fb2d6")
ax.axvline(1, color="black", linewidth=1)
ax.set(xlabel="error over that of interpolation (lines: two standard errors)", xlim=(0, None))
ax.invert_yaxis()
plt.show()

# %%
# ``filter`` is the filter taken whole; ``result`` is the mixture that was written.
#
# The maps
# --------
#
# For each RISH map, and for FA, there is a map of the standard deviation of the error to expect;
# for fibre directions a map of the cone that holds the true one in 95 of 100 voxels:

path = out / f"{RESULT}_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz"
sd_path = out / f"{RESULT}_model-tensor_param-fa_desc-uncertainty_dwimap.nii.gz"
cone_path = out / f"{RESULT}_model-sh_param-cone_desc-uncertainty_dwimap.nii.gz"

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for ax, file, title, highest in (
    (axes[0], path, "FA", 1.0),
    (axes[1], sd_path, "its standard deviation", 0.2),
    (axes[2], cone_path, "cone of the direction, degrees", 90),
):
    shown = ax.imshow(axial(file), cmap="magma", vmin=0, vmax=highest)
    ax.set_title(title)
    ax.axis("off")
    figure.colorbar(shown, ax=ax, shrink=0.8)
plt.show()

# %%
# Where does the number come from? The model was run on simulated subjects whose truth is known,
# and the error was fitted to what the scan shows: its noise, its signal, its fine detail.
# ``"Calibrated": true`` in the sidecar says so.
#
# Does the truth lie in the interval?
# -----------------------------------
#
# This head is made by formulas, so its signals can be had on the finer grid without noise, and FA
# of these:

fa, sd = nibabel.load(path), nibabel.load(sd_path).get_fdata()
mask = sd > 0
signals, bvals, directions = noiseless(fa)
truth = TensorModel(gradient_table(bvals, bvecs=directions)).fit(signals, mask=mask).fa

error = (fa.get_fdata() - truth)[mask]
for level, width in ((50, 0.674), (90, 1.645), (95, 1.960)):
    inside = np.mean(np.abs(error) < width * sd[mask])
    print(f"interval of {level} %: holds the truth in {inside:.0%} of the voxels")

# %%
# If the model knew its own error exactly, both numbers of a line would agree. On forty simulated
# heads of usual size they do, nearly (:doc:`../models`); this head is nothing like them. **On real
# scans nobody knows**: there is no truth to hold the maps against.
#
# One sample instead of the mean
# ------------------------------
#
# ``--estimate sample`` draws one of the images that the diffusion model holds possible, and takes
# all of it, whatever the directions that were left out say. It has the texture of the training
# data:

run(
    "dmri7t study study-sample participant --participant-label 01 --estimate sample "
    "--skip-bids-validation -w work"
)

sample_path = FOLDER / "study-sample" / path.relative_to(out)
sample = nibabel.load(sample_path).get_fdata()
for name, values in (("mean, the default", fa.get_fdata()), ("sample", sample)):
    rms = np.sqrt(np.mean((values - truth)[mask] ** 2))
    print(f"FA of the {name}: {rms:.3f} off the truth (root mean square)")

# %%
# On simulated subjects samples were found to have more error than the mean (:doc:`../models`).
# Take one where texture matters, such as to see what a program makes of it, and not for a
# measurement.

figure, axes = plt.subplots(1, 3, figsize=(10, 4.8), layout="constrained")
truth_path = FOLDER / "truth_fa.nii.gz"
nibabel.save(nibabel.Nifti1Image(truth, fa.affine), truth_path)
pictures = (("truth", truth_path), ("mean, the default", path), ("one sample", sample_path))
for ax, (title, file) in zip(axes, pictures, strict=True):
    ax.imshow(axial(file), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %%
# What to look at
# ---------------
#
# - ``held_out_result`` in the table of quality, or the line on top of the report: it was measured
#   on your scan.
# - The maps of uncertainty where you would build on a difference: is the difference larger than
#   they are?
#
# What not to conclude
# --------------------
#
# - A small standard deviation does not exclude that something is wrong there. A lesion is unlike
#   all that the model was calibrated on, and the maps do not know it.
# - The spread over several samples is not the error either: samples may agree on what is wrong.
# - Errors of neighbouring voxels go together. The mean over a region is less certain than the
#   single voxels' standard deviations, averaged as if they were independent, would have it.
