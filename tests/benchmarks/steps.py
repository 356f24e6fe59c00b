"""Steps that MRtrix has as well, each on the same voxels and processors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measured import Measured, measure, n_processors

SH_PROGRAM = """
import dipy.reconst.shm, nibabel, numpy as np, torch
torch.set_num_threads({threads})
from dmri7t.io.arrays import create_array
from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.rish import rish
import time; start = time.perf_counter()
image = nibabel.load('dwi.nii')
rows = image.shape[3], int(np.prod(image.shape[:3]))
stored = np.memmap('dwi.nii', np.float32, 'c', image.dataobj.offset, rows)
dwi = torch.from_numpy(stored)
n_b0 = int((np.load('bvals.npy') == 0).sum())
plan = plan_fit(np.load('directions.npy')[n_b0:], 4)
coefficients = create_array('sh.npy', (15, dwi.shape[1]))
features = create_array('rish.npy', (3, dwi.shape[1]))
for first in range(0, dwi.shape[1], 65536):
    slab = slice(first, first + 65536)
    # the fit is linear: dividing its result by b0 is dividing the signals, with less to divide
    sh = fit(dwi[n_b0:, slab], plan).div_(dwi[:n_b0, slab].mean(0).clamp_min_(1))
    coefficients[:, slab] = sh.numpy()
    features[:, slab] = rish(sh).numpy()
print(time.perf_counter() - start)
"""

TENSOR_PROGRAM = """
import numpy as np, torch
torch.set_num_threads({threads})
from dmri7t.signal.tensor import fit_tensor
import time; start = time.perf_counter()
dwi = torch.from_numpy(np.load('brain.npy', mmap_mode='c'))
tensor = fit_tensor(dwi, np.load('bvals.npy'), np.load('directions.npy'), 2)
np.save('tensor.npy', tensor.numpy())
print(time.perf_counter() - start)
"""


def program(text: str, folder: Path) -> Measured:
    """Seconds that a program prints of itself: imports are not what is compared."""
    run = subprocess.run(
        [sys.executable, "-c", text.format(threads=n_processors())],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return Measured(float(run.stdout))


def mrtrix(folder: Path, command: str) -> Measured:
    """A command of MRtrix on all processors."""
    return measure(f"{command} -force -quiet -nthreads {n_processors()}".split(), folder)
