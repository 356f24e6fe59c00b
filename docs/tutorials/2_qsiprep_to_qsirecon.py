"""
Behind QSIPrep and into QSIRecon
================================

QSIPrep corrects a scan for motion and distortion. dmri7t takes what it wrote, and with one option
writes its own result under QSIPrep's names, so that QSIRecon can go on from there.
"""

# %%
# What QSIPrep wrote
# ------------------
#
# QSIPrep itself does not run here. ``bids_examples`` makes a folder with the same names and forms:
# an ellipsoid with fibres that turn from left-right to front-back, sixteen directions, and empty
# files where QSIPrep has more.

import matplotlib.pyplot as plt
import nibabel
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel, color_fa
from tutorial import FOLDER, files, run

run("python bids_examples/make.py good/qsiprep_references qsiprep")
files("qsiprep")

# %%
# Run
# ---
#
# The option is ``--output-layout qsiprep``. dmri7t sees by itself that the input is QSIPrep's, and
# takes its brain mask and its gradients. Give the folder of QSIPrep as the input, not the raw
# data.

run("dmri7t qsiprep qsiprep-7Tlike participant --output-layout qsiprep -w work-qsiprep")

# %%
# The files that QSIRecon takes have QSIPrep's names; the others have dmri7t's own:

files("qsiprep-7Tlike/sub-01/dwi", "sub-01_space-ACPC_desc-preproc_dwi*")
files("qsiprep-7Tlike/sub-01/dwi", "sub-01_space-ACPC_desc-brain_mask.nii.gz")
files("qsiprep-7Tlike/sub-01/dwi", "sub-01_space-ACPC_dwiref.nii.gz")

# %%
# Do other programs read the directions as they are meant?
# --------------------------------------------------------
#
# Gradients are where pipelines break. Let another program, DIPY, read both folders and fit a
# tensor:


def colours(folder: str) -> np.ndarray:
    """Colour FA (X, Y, Z, 3) of a scan under QSIPrep's names, by DIPY alone."""
    stem = f"{FOLDER}/{folder}/sub-01/dwi/sub-01_space-ACPC_desc"
    image = nibabel.load(f"{stem}-preproc_dwi.nii.gz")
    bvals, bvecs = (np.loadtxt(f"{stem}-preproc_dwi.{ending}") for ending in ("bval", "bvec"))
    mask = nibabel.load(f"{stem}-brain_mask.nii.gz").get_fdata() > 0
    axes = "".join(nibabel.aff2axcodes(image.affine))
    print(f"{folder}: {image.shape}, axes to {axes}")
    fit = TensorModel(gradient_table(bvals, bvecs=bvecs)).fit(image.get_fdata(), mask=mask)
    return color_fa(np.clip(fit.fa, 0, 1), fit.evecs)


maps = {"before": colours("qsiprep"), "after": colours("qsiprep-7Tlike")}

figure, axes = plt.subplots(1, 2, figsize=(7.5, 4.2), layout="constrained")
for ax, (title, rgb) in zip(axes, maps.items(), strict=True):
    middle = rgb[:, :, rgb.shape[2] // 2].transpose(1, 0, 2)
    ax.imshow(np.clip(middle / 0.8, 0, 1))
    ax.set_title(f"colour FA {title}")
    ax.axis("off")
plt.show()

# %%
# Red is left to right, green front to back. The colours are those of the phantom on both sides, so
# the directions arrived; the right side has less noise.
#
# On to QSIRecon
# --------------
#
# ::
#
#     qsirecon qsiprep-7Tlike recon participant --input-type qsiprep --recon-spec dipy_dki
#
# **This last command was not run here**: QSIRecon comes as a container, which the machine that
# builds these pages does not have. What was tried of it, and what was not, stands in
# :doc:`../outputs`. Specifications that need an anatomical image want QSIPrep's ``anat`` folder
# too: copy or link it into ``qsiprep-7Tlike/sub-<label>``.
#
# What to look at
# ---------------
#
# - Colours: the corpus callosum is red in its middle, before and after. If it is not, the input's
#   gradients are wrong.
# - ``logs/CITATION.md`` in the output folder: the paragraph for your methods section says what was
#   done after QSIPrep.
#
# What not to conclude
# --------------------
#
# - That QSIRecon finds the files does not make them QSIPrep's. Each sidecar says ``"Synthetic":
#   true``; say so in a paper.
# - More voxels are not more measurements. Statistics on voxels should count what was acquired.
