"""Oracle: the metadata of the installed packages; an environment that has nothing else.

What ``pip install lazyrich`` brings is enough for all that is not an extra, and what an
extra is needed for says so in one sentence.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

from lazyrich._base import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Modules by distribution, where the names differ.
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}

USE = """
import sys, time
import jax
import numpy as np
began = time.perf_counter()
import lazyrich as lz
from lazyrich import curves, diagnosis, explorer, kernels, models, tasks, theory, training
seconds = time.perf_counter() - began

x = np.array([[1.0, 2.0], [3.0, -1.0]])
kernel = lz.ntk(lambda w, x: x @ w, np.ones(2), x)
assert np.allclose(kernel, x @ x.T), kernel
experiment = lz.preset("polynomial").changed({"n_steps": 3})
assert lz.train(experiment).records["train_loss"].values[-1] > 0

def sentence(act):
    try:
        act()
    except ImportError as error:
        assert isinstance(error, lz.InputError), error
        return str(error)
    return None

import importlib
for name in ("sweeps", "plots", "paper", "torch"):
    print(sentence(lambda: importlib.import_module(f"lazyrich.{name}")))
print(sentence(lambda: tasks.ImageTask(source="digits").sample(0)))
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & ABSENT, loaded & ABSENT
print(f"{seconds:.2f} s")
sys.stdout.flush()
from lazyrich.cli import main
main(["train", "polynomial"])
"""
SENTENCES = (
    r"lazyrich\.sweeps needs .*xarray.*; install with pip install 'lazyrich\[sweeps\]'\.",
    r"lazyrich\.plots needs .*matplotlib.*'lazyrich\[plots\]'\.",
    r"lazyrich\.paper needs .*'lazyrich\[sweeps\]'\.",
    r"lazyrich\.torch needs torch; .*'lazyrich\[torch\]'\.",
    r"The data set digits needs .*sklearn; .*'lazyrich\[images\]'\.",
)


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement.strip())[0].lower().replace("_", "-")


def _closure(names: list[str]) -> set[str]:
    """Distributions that some need, without extras."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += [_name(one) for one in requires(name) or () if "extra ==" not in one]
    return found


def _module(distribution: str) -> str:
    return MODULES.get(distribution, distribution.replace("-", "_"))


def _own(extra: str) -> set[str]:
    return {
        _module(_name(one))
        for one in PROJECT["optional-dependencies"][extra]
        if _name(one) != "lazyrich"
    }


def test_every_extra_names_the_modules_that_it_brings():
    for extra, modules in EXTRAS.items():
        assert _own(extra) == set(modules), extra


def _check(python: str, absent: set[str], prelude: str = "") -> float:
    script = f"ABSENT = {absent!r}\n{prelude}\n{USE}"
    run = subprocess.run([python, "-c", script], capture_output=True, text=True, cwd="/")
    assert run.stdout, run.stderr
    *sentences, seconds = run.stdout.splitlines()
    assert run.returncode == 2, run.stderr
    assert len(sentences) == len(SENTENCES)
    for said, pattern in zip(sentences, SENTENCES, strict=True):
        assert re.fullmatch(pattern, said), said
    assert re.fullmatch(
        r"lazyrich: The command line needs cyclopts, rich; .*'lazyrich\[cli\]'\.",
        run.stderr.strip().splitlines()[-1],
    )
    return float(seconds.split()[0])


BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def test_the_base_install_is_enough_where_all_other_packages_are_absent():
    base = _closure([_name(one) for one in PROJECT["dependencies"]])
    extra = set.union(*map(_own, EXTRAS))
    assert not {_module(name) for name in base} & extra
    _check(sys.executable, extra, BLOCK)


@pytest.mark.slow
def test_the_wheel_alone_in_an_empty_environment(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("lazyrich-*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    python = str(tmp_path / "empty/bin/python")
    constraints = ("-c", ROOT / "constraints.txt")
    subprocess.run([python, "-m", "pip", "--quiet", "install", *constraints, wheel], check=True)
    seconds = _check(python, set.union(*map(_own, EXTRAS)))
    assert min(seconds, _check(python, set.union(*map(_own, EXTRAS)))) < 2
