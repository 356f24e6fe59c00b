"""The device is what was asked for, or an error."""

from __future__ import annotations

import pytest

from dmri7t.cli import device
from dmri7t.errors import DeviceError


@pytest.mark.parametrize(("driver", "cuda"), [(False, False), (True, False), (True, True)])
def test_device_is_what_is_there(monkeypatch, driver, cuda):
    asked = []
    monkeypatch.setattr(device, "_has_driver", lambda: driver)
    monkeypatch.setattr(device, "_torch_sees_cuda", lambda: asked.append(1) or cuda)
    there = driver and cuda
    assert device.resolve_device("cpu") == "cpu" and not asked
    assert device.resolve_device("auto") == ("cuda" if there else "cpu")
    # torch takes seconds to load: it is asked only where there could be a device
    assert bool(asked) == driver
    if there:
        assert device.resolve_device("cuda") == "cuda"
    else:
        with pytest.raises(DeviceError, match="--device cuda: .*--device cpu"):
            device.resolve_device("cuda")


def test_torch_is_asked_in_another_process(monkeypatch):
    monkeypatch.setattr(device, "QUESTION", "raise SystemExit(0)")
    assert device._torch_sees_cuda()
    monkeypatch.setattr(device, "QUESTION", "import nothing_of_this_name")
    assert not device._torch_sees_cuda()
    monkeypatch.setattr(device, "QUESTION", "import time; time.sleep(30)")
    monkeypatch.setattr(device, "SECONDS", 0.5)
    assert not device._torch_sees_cuda()
