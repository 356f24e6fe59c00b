"""The models' side: damaged models are refused by name; the verbs of dmri7t-model end truly."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from trials import strikes
from trials.case import LINE, Case, Check, Ending, Run, Step, Strike, says
from trials.judge import Ends, refused, stopped
from trials.place import Edit, Place, with_one

OWN = LINE.replace("$MODEL", "own")

Damage = Callable[[Path], None]


def with_own_model(damage: Damage) -> Edit:
    """The data, and a copy of the tiny model beside them that is then damaged."""

    def build(place: Place) -> None:
        with_one(place)
        shutil.copytree(place.root.parent / "model", place.root / "own")
        damage(place.root / "own")

    return build


def config(change: Callable[[dict], object]) -> Damage:
    """Change a model's description, as an editor would."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text())
        changed = change(values)
        path.write_text(json.dumps(values if changed is None else changed))

    return damage


def text(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of a file of the model."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def not_a_number(folder: Path) -> None:
    """Weights that are no numbers, under checksums that are right."""
    path = folder / "mean.safetensors"
    tensors = {name: np.full_like(values, np.nan) for name, values in load_file(path).items()}
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    config(lambda values: values["files"].update({path.name: digest}))(folder)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "config-missing": (lambda f: (f / "config.json").unlink(), r"config\.json"),
    "config-cut": (text("config.json", lambda b: b[:100]), r"config\.json"),
    "config-empty": (text("config.json", lambda b: b""), r"config\.json"),
    "config-a-list": (config(lambda v: [v]), r"config\.json"),
    "config-without-networks": (config(lambda v: v.pop("networks") and None), r"config\.json.*net"),
    "config-without-files": (config(lambda v: v.pop("files") and None), r"config\.json"),
    "config-format-99": (config(lambda v: v.update(format=99)), r"config\.json"),
    "config-scale-words": (config(lambda v: v.update(scale=["a", "b", "c"])), r"config\.json"),
    "config-scale-short": (config(lambda v: v.update(scale=[1.0])), r"config\.json"),
    "config-files-outside": (
        config(lambda v: v["files"].update({"../../etc/passwd": "0" * 64})),
        r"config\.json|passwd",
    ),
    "config-unknown-network": (
        config(lambda v: v["networks"]["mean"].update(kind="transformer")),
        r"config\.json.*transformer",
    ),
    "config-width-negative": (
        config(lambda v: v["networks"]["mean"].update(width=-8)),
        r"config\.json",
    ),
    "weights-missing": (lambda f: (f / "mean.safetensors").unlink(), r"mean\.safetensors"),
    "weights-cut": (text("mean.safetensors", lambda b: b[:-9]), r"mean\.safetensors"),
    "weights-one-byte": (
        text("mean.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
        r"mean\.safetensors",
    ),
    "weights-empty": (text("diffusion.safetensors", lambda b: b""), r"diffusion\.safetensors"),
    "weights-a-pointer": (
        text("mean.safetensors", lambda b: b"version https://git-lfs.github.com/spec/v1\n"),
        r"mean\.safetensors",
    ),
}
"""What may happen to a model's folder, and which file must be named."""


def _damaged() -> Iterator[Case]:
    for name, (damage, pattern) in DAMAGES.items():
        step = Step(refused(pattern), line=OWN)
        yield Case(f"models/{name}", (step,), with_own_model(damage), weight=2.5)
    # the checksums are right, so only what is computed shows it
    ends = (*refused("mean|weights"), Ends((1,), (says("FAILED: .*(finite|number|NaN)"),)))
    yield Case("models/weights-NaN", (Step(ends, line=OWN),), with_own_model(not_a_number))


def verb(name: str, line: str, *ends: Ending, weight: float = 5.0, seconds: float = 600.0) -> Case:
    """A command of dmri7t-model, beside the data of one participant."""
    step = Step(ends or (Ends((0,)),), line=line, touches_input=True, seconds=seconds)
    return Case(f"models/{name}", (step,), with_one, weight=weight)


RECIPE = """
[model]
name = "small"
version = "0"
form = "regression"
description = "For a trial."
[data]
seeds = 2
first_seed = 0
validation_seeds = 1
first_validation_seed = 1000000
patch = 16
[networks.mean]
kind = "residual"
width = 4
blocks = 1
limit = 1.0
[stages.mean]
steps = 12
batch = 1
learning_rate = 1e-3
"""

SMALL = "--voxel-size 5 --voxel-size-7t 4.2 --directions 12 --b0s 2"


def made(*names: str) -> Check:
    """Files that must be there in the end."""

    def check(run: Run) -> str:
        missing = [name for name in names if not (run.place.out / name).is_file()]
        return f"does not write {', '.join(missing)}" if missing else ""

    return check


def _verbs() -> Iterator[Case]:
    yield verb("verb-unknown", "$DMRI7T_MODEL trian x out", *refused("did you mean train"))
    yield verb("info", "$DMRI7T_MODEL info $MODEL", Ends((0,), (says("tiny"),)))
    yield verb("info-unknown", "$DMRI7T_MODEL info defualt", *refused("defualt"))
    yield verb("recipe-unknown", "$DMRI7T_MODEL train defualt out", *refused("defualt"))
    wrong = RECIPE.replace("batch = 1", "batch = 0")
    yield verb("recipe-batch-0", _written(wrong, "train home/r.toml out"), *refused("batch"))
    wrong = RECIPE.replace("steps = 12", "setps = 12")
    yield verb("recipe-key", _written(wrong, "train home/r.toml out"), *refused("setps"))
    yield verb("recipe-cut", _written("[model", "train home/r.toml out"), *refused(r"r\.toml"))
    yield verb("train-into-a-file", "$DMRI7T_MODEL train default in/README", *refused("README"))
    trained = Ends(
        (0,), (says("step 12/12  loss "), says("simulate: training"), made("config.json"))
    )
    yield verb("train", _written(RECIPE, "train home/r.toml out --threads 1"), trained, weight=30.0)
    # what a killed training had done is there when it goes on
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        steps = _ended_training(number, code)
        yield Case(f"models/train-{number.name}", steps, with_one, weight=40.0)
    yield verb("simulate-none", "$DMRI7T_MODEL simulate out --subjects 0", *refused("subjects"))
    yield verb("simulate-many", "$DMRI7T_MODEL simulate out --subjects 9999", *refused("fewer"))
    yield verb("simulate-voxels-0", "$DMRI7T_MODEL simulate out --voxel-size 0", *refused("voxel"))
    yield verb("simulate-b-0", "$DMRI7T_MODEL simulate out --shells 0", *refused("shells"))
    simulated = Ends((0,), (says(r"\[simulate\] .*\(1 of 1\)"), made("README")))
    yield verb("simulate", f"$DMRI7T_MODEL simulate out {SMALL}", simulated, weight=20.0)
    evaluate = "$DMRI7T_MODEL evaluate $MODEL --output out --threads 1"
    yield verb("evaluate-unpaired", f"{evaluate} --pairs in", *refused("in:.*7T|pairs"))
    nothing = refused("nothing")
    yield verb("evaluate-nothing", f"{evaluate} --pairs nothing", *nothing)
    yield verb("evaluate-none", f"{evaluate} --subjects 0", *refused("subjects"))
    pairs = f"$DMRI7T_MODEL simulate home/pairs --subjects 2 {SMALL} > /dev/null && {evaluate}"
    table = Ends((0,), (says(r"\[evaluate\] .* b1000"), says("methods"), made("table.md")))
    yield verb("evaluate-pairs", f"{pairs} --pairs home/pairs", table, weight=60.0)
    compare = "$DMRI7T_MODEL compare in --output out --threads 1"
    yield verb("compare-one-subject", f"{compare} --subjects 1", *refused("--subjects"))
    yield verb("calibrate-unknown", "$DMRI7T_MODEL calibrate nothing", *refused("nothing"))


def _written(recipe: str, words: str) -> str:
    return f"cat > home/r.toml <<'END'\n{recipe}\nEND\n$DMRI7T_MODEL {words}"


def _ended_training(number: signal.Signals, code: int) -> tuple[Step, ...]:
    line = _written(RECIPE.replace("steps = 12", "steps = 60"), "train home/r.toml out --threads 1")
    strike = Strike("step 10/60|step 50/60", strikes.to_group(number))
    on = Ends((0,), (says("step 60/60"), made("config.json", "mean.safetensors")))
    return (
        Step(stopped(code), line=line, strike=strike, seconds=600.0),
        Step((on,), line=line, seconds=600.0),
    )


CASES: tuple[Case, ...] = (*_damaged(), *_verbs())
