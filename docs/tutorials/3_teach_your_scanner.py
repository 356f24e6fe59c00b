"""
Teach it your scanner
=====================

The model that ships learned from simulated scans. Yours may know your scanner: from 3T scans
alone, without any 7T scan, since some directions of a scan can teach the others.
"""

# %%
# The scans
# ---------
#
# Any input that dmri7t takes, of two people or more. More is better: two are what a page of
# documentation can afford. They are those of :doc:`1_scan_to_report`.

from importlib import resources

import matplotlib.pyplot as plt
import pandas as pd
from tutorial import DATA, FOLDER, RESULT, files, needs, run

needs(DATA)
files("study", "*_dwi.nii.gz")

# %%
# A recipe
# --------
#
# A recipe says everything that decides a training. This is the default's with three changes: a
# name, small examples of these scans alone, and **20 steps, which is far too few**; it has 6000.

recipe = resources.files("dmri7t.training").joinpath("recipes/default.toml").read_text()
for old, new in (
    ('name = "default"', 'name = "lab"'),
    ("[data]", "[data]\npatch = 16\npatches = 12\nsimulated_part = 0.0"),
    (
        "[stages.mean]\nsteps = 6000\nbatch = 4\nlearning_rate = 1e-3",
        "[stages.mean]\nsteps = 20\nbatch = 2\nlearning_rate = 1e-4\nvalidate_every = 5",
    ),
):
    assert old in recipe, f"{old!r} does not stand in the recipe any more"
    recipe = recipe.replace(old, new)
(FOLDER / "lab.toml").write_text(recipe)

# %%
# Train
# -----
#
# With ``--start`` the regression begins at the weights of the model that ships, and everything
# else of that model is kept. One of the two people is kept for validation, so one is left to learn
# from.

run("dmri7t-model train lab.toml lab --scans study --start default --threads 1")

# %%
# The folder ``lab`` is the model: weights, a card, and the log of the training.

print(*sorted(path.name for path in (FOLDER / "lab").glob("*.*")), sep="\n")

# %%
# The loss of the scans that it learned from, which jumps from batch to batch, and of the person
# that it did not see:

log = pd.read_table(FOLDER / "lab" / "training_log.tsv")
print(log.tail(4).to_string(index=False))

# %%

figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name, label in (("loss", "training"), ("validation_loss", "validation")):
    line = log.dropna(subset=[name])
    ax.plot(line["step"], line[name], marker=".", label=label)
ax.set(xlabel="step", ylabel="loss (logarithm)")
ax.legend()
plt.show()

# %%
# Use it
# ------
#
# ``--model`` takes the folder. Directions of the scan that are left out decide what part the model
# has in the result.

run(
    "dmri7t study study-lab participant --participant-label 01 --model lab "
    "--skip-bids-validation -w work"
)

table = pd.read_table(FOLDER / "study-lab" / f"{RESULT}_desc-quality_dwi.tsv", index_col=0)
columns = [
    *(f"model_share_r{order}" for order in (0, 2, 4)),
    *("held_out_filter", "held_out_model", "held_out_result"),
]
print(table[columns].T.to_string())

# %%
# The error of interpolation is 1. A share of 0 means that the model foretold no better than the
# filter without it, and has no part in the result. This is why trying a model costs nothing but
# time: one that has learned nothing is left out. (That holds for models of the default's form;
# plain regressions and the paper's form are taken whole.)
#
# What you would really do
# ------------------------
#
# ::
#
#     dmri7t-model train default my-model --scans /data/study --start default
#     dmri7t-model calibrate my-model
#     dmri7t /data/study /data/out participant --model my-model
#
# The whole recipe takes long: try a GPU. Uncertainty and alarms belong to the old weights and are
# left out until ``calibrate`` fits them again. With pairs of 3T and 7T scans, ``--pairs`` learns
# from these: :doc:`../training`.
#
# What to look at
# ---------------
#
# - The validation loss: it should fall with the other, and not rise again.
# - ``held_out_model`` against ``held_out_filter``, on people that the model never saw.
#
# What not to conclude
# --------------------
#
# - Nothing from this page about what training gains: it was too short, and the scans are
#   simulated.
# - Nothing from people that took part in the training. The model's card counts them, and
#   ``dmri7t-model evaluate`` refuses them as test subjects.
