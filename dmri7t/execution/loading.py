"""Loaded first by the process that workers come from: what it loads after this warns nobody."""

from __future__ import annotations

import gc
import logging

from dmri7t.execution.workers import quiet_libraries

quiet_libraries(logging.CRITICAL)
# nothing of what is loaded is garbage; workers collect theirs again
gc.disable()
