"""Whatever is around the command: streams, locale, environment, users, options."""

from __future__ import annotations

from collections.abc import Iterator

from trials.case import LINE, Case, Ending, Step, says
from trials.judge import Ends, refused, right
from trials.oracles import ALONE, identical, nothing_written
from trials.place import with_base, with_one

RUN = LINE.removeprefix("exec ")
SAME = Ends((0,), (identical(build=with_one),))
"""For where nothing is printed that could be read."""


def around(name: str, line: str, *ends: Ending, weight: float = 10.0, **more: object) -> Case:
    """A command line with something around it."""
    step = Step(ends or ALONE, line=line)
    needs, build = tuple(more.get("needs", ())), more.get("build", with_one)
    return Case(f"surroundings/{name}", (step,), build, needs=needs, weight=weight)


def _streams() -> Iterator[Case]:
    yield around("stdout-closed", f"{RUN} >&-", SAME)
    yield around("stderr-closed", f"{RUN} 2>&-")
    yield around("all-closed", f"{RUN} <&- >&- 2>&-", SAME)
    yield around("head", f"set -o pipefail; {RUN} 2>&1 | head -3", SAME)
    yield around("stdout-full", f"{RUN} > /dev/full", SAME)
    yield around("stderr-full", f"{RUN} 2> /dev/full")


VARIABLES = {
    "optimize-1": "PYTHONOPTIMIZE=1",
    "optimize-2": "PYTHONOPTIMIZE=2",
    "C-locale": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
    "turkish": "LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8",
    "ascii-streams": "PYTHONIOENCODING=ascii",
    "warnings-as-errors": "PYTHONWARNINGS=error",
    "development-mode": "PYTHONDEVMODE=1",
    "no-home": "HOME=/nonexistent",
    "home-unset": "HOME= XDG_CONFIG_HOME= XDG_CACHE_HOME=",
    "tmpdir-missing": "TMPDIR=/nonexistent",
    "matplotlib-on-a-screen": "MPLBACKEND=TkAgg DISPLAY=:77",
    "matplotlib-nonsense": "MPLBACKEND=nonsense",
    "matplotlib-config-unwritable": "MPLCONFIGDIR=/proc/nothing",
    "threads-nonsense": "OMP_NUM_THREADS=many",
    "threads-zero": "OMP_NUM_THREADS=0",
    "slurm-nonsense": "SLURM_CPUS_ON_NODE='2(x3)' SLURM_MEM_PER_NODE=lots SLURM_JOB_ID=1",
    "no-user": "LOGNAME= USER=",
    "path-empty": "PATH=",
    "hash-seed": "PYTHONHASHSEED=7",
    "time-zone": "TZ=Nowhere/Nothing",
    "dumb-terminal": "TERM=dumb COLUMNS=1",
    "proxy": "http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9",
    "torch-debug": "TORCH_LOGS=+dynamo TORCH_SHOW_CPP_STACKTRACES=1",
    "unbuffered": "PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1",
    "tmpdir-a-file": "TMPDIR=$PWD/in/README",
    "tmpdir-from-here": "TMPDIR=tmp",
    "locale-unknown": "LANG=xx_XX.UTF-8 LC_ALL=xx_XX.UTF-8",
    "colours": "FORCE_COLOR=1 CLICOLOR_FORCE=1 TERM=xterm-256color",
    "no-terminal": "TERM=",
}
"""What the environment may hold, none of which may change a result."""


def _variables() -> Iterator[Case]:
    for name, values in VARIABLES.items():
        yield around(name, f"{values} {RUN}")


MODULES = ("random", "types", "numpy", "json", "torch", "dmri7t", "sitecustomize", "conftest")


def _folders() -> Iterator[Case]:
    for module in MODULES:
        line = f"mkdir here; cd here; echo 'raise SystemExit(9)' > {module}.py; "
        inside = RUN.replace(" in out ", " ../in ../out ").replace("-w work", "-w ../work")
        yield around(f"file-{module}", f"{line}{inside}; code=$?; cd ..; rm -r here; exit $code")
    nipype = "printf '[execution]\\nstop_on_first_crash = true\\nhash_method = timestamp\\n"
    nipype += "plugin = Linear\\ncrashdump_dir = /nonexistent\\n' > nipype.cfg; "
    yield around("nipype-config", f"{nipype}{RUN}; code=$?; rm nipype.cfg; exit $code")
    away = "mkdir away; cd away; rmdir ../away; "
    whole = RUN.replace(" in out ", " $OLDPWD/in $OLDPWD/out ").replace(
        "-w work", "-w $OLDPWD/work"
    )
    yield around("folder-deleted", f"{away}{whole}")
    yield around("folder-deleted-and-paths-told-from-it", f"{away}{RUN}", *refused("was deleted"))
    yield around("umask-077", f"umask 077; {RUN}")
    yield around("umask-0777", f"umask 0777; {RUN}", *ALONE, Ends((1, 2)), weight=6.0)
    nobody = "chmod 777 .; exec setpriv --reuid=65534 --regid=65534 --clear-groups "
    yield around("as-nobody", f"{nobody}{RUN}", needs=("nobody",))
    closed = "chmod 755 .; exec setpriv --reuid=65534 --regid=65534 --clear-groups "
    denied = refused(r"(out|work): .*(cannot be (written|made)|permission denied)")
    yield around(
        "where-one-may-not-write", f"{closed}{RUN}", *denied, needs=("nobody",), weight=3.0
    )
    yield around("within-the-input", f"cd in; {RUN.replace(' in out ', ' . ../out ')} -w ../work")
    dotted = RUN.replace(" in out ", " ./in/../in/ out/. ")
    yield around("paths-with-dots", dotted)
    long = "$PWD/tmp/" + "t" * 120
    yield around("tmpdir-long", f"mkdir -p {long}; TMPDIR={long} {RUN}")
    yield around("nothing-but-paths", f"exec env -i PYTHONPATH=$PYTHONPATH MODEL=$MODEL {RUN}")
    yield around("children-not-waited-for", f"trap '' CHLD; {RUN}")
    yield around(
        "hang-up-ignored", f"trap '' HUP; {RUN} & sleep 3; kill -HUP $! 2> /dev/null; wait $!"
    )
    yield around("one-processor", f"taskset -c 0 {RUN}")
    yield around("stdin-a-closed-pipe", f"true | {RUN}")
    # bars that are written over in place
    shown = f"script -qec '{RUN.replace(' -v', '')}' /dev/null"
    yield around("terminal", f"TERM=xterm {shown}", SAME)
    yield around("narrow-terminal", f"TERM=xterm COLUMNS=5 {shown}", SAME)
    killed = "a process was killed|CPU time|signal (9|24)"
    step = Step(
        (Ends((1,), (says(killed),)), Ends((-9, -24)), *ALONE),
        line=f"ulimit -t 4; {LINE}",
    )
    yield Case("surroundings/seconds-of-a-processor", (step, Step(ALONE)), with_one, weight=14.0)
    yield around("suspended-terminal", f"setsid {RUN} < /dev/null")


def with_file(content: str, option: str) -> str:
    """A command whose option names a file of this content."""
    return f"echo '{content}' > home/given; {RUN} {option} home/given"


OPTIONS = {
    "no-words": ("$DMRI7T", ("--help",)),
    "unknown-option": (f"{RUN} --participant-lable 01", ("mean --participant-label",)),
    "unknown-level": (RUN.replace("participant", "partcipant"), ("did you mean participant",)),
    "unknown-participant": (f"{RUN} --participant-label 1", ("no participant 1", "01")),
    "participants-joined-wrongly": (f"{RUN} --participant-label '01;02'", ("no participant",)),
    "unknown-session": (f"{RUN} --session-id 1", ("--session-id|session",)),
    "zero-processors": (f"{RUN} --nprocs 0", ("--nprocs",)),
    "negative-processors": (f"{RUN} --nprocs=-2", ("--nprocs",)),
    "memory-without-unit": (f"{RUN} --mem 16000", ("--mem", "G|GiB|unit")),
    "memory-zero": (f"{RUN} --mem 0", ("--mem",)),
    "memory-nonsense": (f"{RUN} --mem lots", ("--mem",)),
    "samples-zero": (f"{RUN} --samples 0", ("--samples",)),
    "steps-negative": (f"{RUN} --sampler-steps=-1", ("--sampler-steps",)),
    "resolution-zero": (f"{RUN} --output-resolution 0", ("--output-resolution",)),
    "resolution-nonsense": (f"{RUN} --output-resolution fine", ("--output-resolution",)),
    "resolution-huge": (f"{RUN} --output-resolution 0.01", ("--output-resolution|GiB",)),
    "seed-words": (f"{RUN} --random-seed x", ("--random-seed",)),
    "shell-absent": (f"{RUN} --shells 3000", ("--shells|3000",)),
    "threshold-negative": (f"{RUN} --b0-threshold=-5", ("--b0-threshold",)),
    "threshold-over-all": (f"{RUN} --b0-threshold 2000", ("b0",)),
    "consistency-two": (f"{RUN} --consistency 2", ("--consistency",)),
    "model-unknown": (RUN.replace("$MODEL", "defualt"), ("defualt", "default")),
    "model-is-a-file": (RUN.replace("$MODEL", "in/README"), ("README",)),
    "cuda-absent": (f"{RUN.replace('--device cpu', '--device cuda')}", ("cuda|GPU",)),
    "config-missing": (f"{RUN} --config-file none.toml", (r"none\.toml",)),
    "config-broken": (with_file("nprocs = = 3", "--config-file"), ("home/given",)),
    "config-unknown-key": (with_file("nproc = 3", "--config-file"), ("nproc",)),
    "config-not-told": (f"{RUN} --config-file", ("--config-file",)),
    "config-shortened": (f"{RUN} --config none.toml", (r"none\.toml|--config",)),
    "config-nested": (with_file(f"mem = {'[' * 3000}", "--config-file"), ("home/given",)),
    "plugin-nested": (with_file(f"plugin: {'[' * 3000}", "--use-plugin"), ("home/given",)),
    "filter-missing": (f"{RUN} --bids-filter-file none.json", (r"none\.json",)),
    "filter-list": (with_file("[1]", "--bids-filter-file"), ("home/given",)),
    "plugin-missing": (f"{RUN} --use-plugin none.yml", (r"none\.yml",)),
    "plugin-unknown": (with_file("plugin: PBS", "--use-plugin"), ("home/given|PBS",)),
    "plugin-broken": (with_file("plugin: [", "--use-plugin"), ("home/given",)),
    "derivatives-missing": (f"{RUN} --derivatives qsiprep=none", ("none",)),
    "derivatives-unknown": (f"{RUN} --derivatives mriqc=in", ("mriqc|in:",)),
    "mask-pattern-unknown": (f"{RUN} --brain-mask 'in/{{nonsense}}.nii.gz'", ("nonsense",)),
    "mask-missing": (f"{RUN} --brain-mask none.nii.gz", (r"none\.nii\.gz",)),
    "exclude-too-many": (f"{RUN} --exclude-volumes 0-17", ("volumes|exclude",)),
    "exclude-beyond": (f"{RUN} --exclude-volumes 99", ("99|18",)),
    "exclude-nonsense": (f"{RUN} --exclude-volumes first", ("--exclude-volumes|volumes",)),
    # whatever the machine has
    "plugin-without-slurm": (
        with_file("plugin: SLURM", "--use-plugin").replace(RUN, f"PATH= {RUN}"),
        ("sbatch|SLURM",),
    ),
    "model-unfit": (RUN.replace("$MODEL", "$PWD/in"), (r"config\.json",)),
    "threshold-words": (f"{RUN} --b0-threshold low", ("--b0-threshold",)),
    "samples-many-zeros": (f"{RUN} --samples 00", ("--samples",)),
    "device-unknown": (f"{RUN} --device gpu", ("--device|cuda",)),
    "two-inputs": (RUN.replace(" in out ", " in in out "), ("in|out|participant",)),
    "equals-and-nothing": (f"{RUN} --nprocs=", ("--nprocs",)),
    "exclude-backwards": (f"{RUN} --exclude-volumes 5-3", ("--exclude-volumes",)),
    "exclude-negative": (f"{RUN} --exclude-volumes -1", ("--exclude-volumes",)),
    "filter-not-of-dwi": (
        with_file('{"dwi": {"acquisition": "hires"}}', "--bids-filter-file"),
        ("the filter asks for acquisition hires",),
    ),
    "group-without-results": (RUN.replace(" participant ", " group "), ("no results",)),
}
"""Mistakes in options: the command, and what its line must say."""


def _options() -> Iterator[Case]:
    for name, (line, patterns) in OPTIONS.items():
        yield around(f"option-{name}", line, *refused(*patterns), weight=2.0)
    yield around("help", "$DMRI7T --help", Ends((0,), (says("Exit codes"),)), weight=1.0)
    yield around("version", "$DMRI7T --version", Ends((0,), (nothing_written,)), weight=1.0)
    yield around(
        "labels-with-commas",
        f"{RUN} --participant-label sub-01,02",
        *right(identical()),
        build=with_base,
    )


CASES: tuple[Case, ...] = (*_streams(), *_variables(), *_folders(), *_options())
