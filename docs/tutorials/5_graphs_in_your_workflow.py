"""
Use the graphs in your own workflow
===================================

The command is made of Nipype graphs, which you can use without it. Here the graph of one scan
stands in a workflow with a node of our own behind it, which counts how FA is spread in the brain.
"""

# %%
# A scan and its plan
# -------------------
#
# A ``Scan`` is a record of files. A plan follows from the header and the gradients: which shells
# go through the model, which grid the result has, how results are named. The model's folder is
# checked on the way. The scan is the other one of :doc:`1_scan_to_report`.

import matplotlib.pyplot as plt
import networkx
import numpy as np
from nipype import Function, Node, Workflow
from nipype.pipeline.engine.utils import generate_expanded_graph
from tutorial import DATA, FOLDER, needs

from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.io.names import split_name
from dmri7t.io.scan import Scan
from niflow.dmri7t import init_scan_wf, model_settings, plan_scan

needs(DATA)
stem = FOLDER / "study/sub-02/dwi/sub-02_dwi"
dwi = stem.with_suffix(".nii.gz")
scan = Scan(
    dwi=dwi,
    bval=stem.with_suffix(".bval"),
    bvec=stem.with_suffix(".bvec"),
    sidecar={},
    entities=split_name(dwi),  # results are named after them
    uri=f"bids:raw:{dwi.relative_to(FOLDER / 'study')}",
)
settings, model = model_settings("default", random_seed=1, compare=False)
plan = plan_scan(scan, settings)
print("shells that go through the model:", [shell.name for shell in plan.translated])

# %%
# A node of our own
# -----------------
#
# ``init_scan_wf`` returns an ordinary Nipype workflow with ``inputnode`` and ``outputnode``;
# :doc:`../api/niflow` lists their fields. ``out_files`` are the paths of everything that was
# written.


def count_fa(files: list) -> str:
    """Count the voxels of the brain by their FA; returns the path of a table."""
    from pathlib import Path

    import nibabel
    import numpy as np

    (fa,) = (path for path in files if path.endswith("param-fa_desc-7Tlike_dwimap.nii.gz"))
    (mask,) = (path for path in files if path.endswith("desc-brain_mask.nii.gz"))
    inside = nibabel.load(mask).get_fdata() > 0
    counts, edges = np.histogram(nibabel.load(fa).get_fdata()[inside], bins=40, range=(0, 1))
    path = str(Path.cwd() / "fa_counts.tsv")
    np.savetxt(path, np.c_[edges[:-1], counts], fmt="%g", delimiter="\t")
    return path


scan_wf = init_scan_wf(plan, model)
scan_wf.inputs.inputnode.trait_set(**plan.files, out_dir=str(FOLDER / "own-7Tlike"))
counting = Node(Function(["files"], ["table"], count_fa), name="count_fa")

workflow = Workflow("own_wf")
workflow.connect(scan_wf, "outputnode.out_files", counting, "files")

# %%
# What is inside
# --------------
#
# The whole graph, downwards; what stands in a row can run at the same time:

graph = generate_expanded_graph(workflow._create_flat_graph())
places = {
    node: (i - (len(row) - 1) / 2, -depth)
    for depth, row in enumerate(map(list, networkx.topological_generations(graph)))
    for i, node in enumerate(row)
}

figure, ax = plt.subplots(figsize=(11, 8), layout="constrained")
networkx.draw_networkx_edges(
    graph, places, ax=ax, edge_color="#9aa7b3", arrowsize=7, node_size=250, width=0.7
)
for node, (x, y) in places.items():
    own = node.name == counting.name
    box = {"boxstyle": "round", "facecolor": "#ffe3b3" if own else "#eef5fa", "linewidth": 0.5}
    ax.text(x, y, node.name, ha="center", va="center", fontsize=8, bbox=box)
ax.axis("off")
plt.show()

# %%
# Run
# ---
#
# ``run_workflow`` runs it with dmri7t's own workers; Nipype's plugins, or :doc:`SLURM
# <../cluster>`, do as well. Workers may import the file that started them, so in a script of yours
# this stands under ``if __name__ == "__main__"``, as here.

if __name__ == "__main__":
    status = run_workflow(
        workflow,
        {"own_wf": "02"},
        Resources(n_procs=2, memory_gb=6),
        work_dir=FOLDER / "own-work",
        log_dir=FOLDER / "own-work" / "logs",
    )
    print(status.summary())
    assert status.exit_code == 0, "a node failed"

# %%
# Our node had the results:

if __name__ == "__main__":
    low, count = np.loadtxt(FOLDER / "own-work/own_wf/count_fa/fa_counts.tsv", delimiter="\t").T
    figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    ax.bar(low, count, width=1 / len(low), align="edge", color="#7fb2d6")
    ax.set(xlabel="FA", ylabel="voxels")
    plt.show()

# %%
# Where the files of a scan are made by an earlier node of the same workflow, and are not there
# yet, ``plan_series`` plans from what they will be like: :doc:`../usage` has a whole example.
#
# What to look at
# ---------------
#
# - ``status.exit_code``: no exception is raised for a node that failed. Crash files lie in
#   ``log_dir``.
# - The work folder: run the script again, and only nodes whose inputs changed are computed.
#
# What not to conclude
# --------------------
#
# - A graph fits one plan. For a scan on another grid or with other shells, make a plan and a graph
#   of its own.
# - The graph writes results, not the report; ``init_dmri7t_wf`` builds everything that the command
#   runs.
