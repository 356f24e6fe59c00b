"""The process that workers come from ends with the run, whatever it is still doing."""

from __future__ import annotations

import logging
import multiprocessing.util
import os
import subprocess
import sys
import tempfile
import time
import warnings

import pytest

from dmri7t.execution.workers import place_sockets, quiet_libraries

PROGRAM = """
import multiprocessing.forkserver as forkserver, multiprocessing.util as util
import os, shutil, sys, time
from dmri7t.execution.workers import cool_down, warm_up
warm_up([sys.argv[1]])
pid = forkserver._forkserver._forkserver_pid
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
if len(sys.argv) > 3:
    shutil.rmtree(util.get_temp_dir())
begun = time.monotonic()
cool_down()
cool_down()
print(pid, time.monotonic() - begun)
"""


@pytest.mark.parametrize("further", [(), ("without its folder for temporary files",)])
def test_the_server_ends_while_it_still_loads(tmp_path, further):
    # a module that takes as long to load as torch does on a busy machine
    (tmp_path / "sluggish.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "sluggish", str(tmp_path / "begun"), *further],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    pid, seconds = done.stdout.split()
    assert float(seconds) < 5 and time.monotonic() - begun < 45
    assert not os.path.exists(f"/proc/{pid}")


HANGS_UP = """
import logging, sys
from pathlib import Path
from nipype import Function, Node
from dmri7t.execution.workers import Worker, warm_up
if __name__ == "__main__":
    warm_up([])
    worker = Worker(logging.CRITICAL)
    code = "def wait(seconds):\\n    import time; time.sleep(seconds)"
    node = Node(Function(["seconds"], [], code), name="node", base_dir=sys.argv[1])
    node.inputs.seconds = 1.0
    worker.send(node, False, 0)
    worker._connection.close()
    worker._process.join(30)
    print(worker._process.exitcode)
"""


def test_a_driver_that_hangs_up_while_a_node_runs_is_no_traceback(tmp_path):
    """The last words of a run that is stopped are those of its driver."""
    program = tmp_path / "program.py"
    program.write_text(HANGS_UP)
    done = subprocess.run(
        [sys.executable, program, tmp_path / "work"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.split() == ["0"] and not done.stderr, done.stderr
    assert list((tmp_path / "work").rglob("result_*.pklz")), "the node did not run"


def test_the_socket_of_the_server_lies_where_its_name_fits(tmp_path, monkeypatch):
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    place_sockets()
    assert len(multiprocessing.util.get_temp_dir()) < 80 and tempfile.tempdir == str(long)


def test_a_file_that_an_interrupt_left_open_is_no_warning_in_a_log():
    with warnings.catch_warnings(record=True) as shown:
        quiet_libraries(logging.INFO)
        warnings.warn("unclosed file", ResourceWarning, stacklevel=1)
        warnings.warn("what a log was asked for", UserWarning, stacklevel=1)
    assert [str(each.message) for each in shown] == ["what a log was asked for"]


INTERRUPTED = """
import os, signal, sys, time
from dmri7t.execution.workers import cool_down, warm_up

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: print("driver", flush=True))
    warm_up(("slow",))
    while not os.path.exists("loading"):
        time.sleep(0.01)
    os.killpg(0, signal.SIGINT)
    time.sleep(1)
    print(os.path.exists("loaded"))
    cool_down()
"""


def test_an_interrupt_while_the_server_loads_is_the_drivers(tmp_path):
    slow = "import time; open('loading', 'w').close(); time.sleep(0.3); open('loaded', 'w').close()"
    (tmp_path / "slow.py").write_text(slow)
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    ended = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        start_new_session=True,
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("driver\nTrue\n", "")


PRODUCTS = """
import hashlib
import torch
from dmri7t.execution.workers import pin_threads

for threads in (1, 2, 4):
    pin_threads(threads)
    digest = hashlib.sha256()
    for n_volumes, n_coefficients, n_voxels in ((6, 15, 100), (6, 28, 700), (30, 45, 3001)):
        draw = torch.Generator().manual_seed(1)
        basis = torch.randn(n_volumes, n_coefficients, generator=draw)
        product = basis @ torch.randn(n_coefficients, n_voxels, generator=draw)
        digest.update(product.numpy().tobytes())
    print(digest.hexdigest())
"""


def test_products_have_the_same_bits_by_any_number_of_threads():
    kept = {k: v for k, v in os.environ.items() if k != "MKL_CBWR"}
    ended = subprocess.run(
        [sys.executable, "-c", PRODUCTS], env=kept, capture_output=True, text=True, check=True
    )
    assert len(set(ended.stdout.split())) == 1


FROZEN = """
import gc, logging
from nipype import Function, Node
from dmri7t.execution.workers import Worker, warm_up

def state():
    import gc
    return gc.isenabled(), gc.get_freeze_count() > 10_000

if __name__ == "__main__":
    warm_up(("nipype.pipeline.engine",))
    worker = Worker(logging.WARNING)
    node = Node(Function([], ["enabled", "frozen"], state), name="node", base_dir=".")
    worker.send(node, False, 1)
    while worker.receive() is None:
        pass
    worker.stop()
    outputs = node.result.outputs
    print(outputs.enabled, outputs.frozen)
"""


def test_a_worker_looks_for_garbage_in_its_own_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FROZEN)
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout == "True True\n", ended.stderr
