"""Memory that is freed and asked for again."""

import subprocess
import sys

PROGRAM = """
import resource
import numpy as np
from dmri7t.execution.memory import keep_freed, return_freed
from dmri7t.execution.workers import peak_gb

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def taken(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        bytearray(100 << 20)[:: 4096] = b"x" * (100 * 256)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keep}:
    keep_freed()
taken(1)
print(taken(5), resident())
return_freed()
print(resident())
"""


def faults_and_sizes(keep):
    command = [sys.executable, "-c", PROGRAM.replace("{keep}", str(keep))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def test_freed_memory_is_used_again_and_given_back_in_the_end():
    faults, held, after = faults_and_sizes(True)
    usual, _, _ = faults_and_sizes(False)
    # 25,600 pages a time
    assert usual > 5 * 25_000 and faults < 1000
    assert held - after > 90
