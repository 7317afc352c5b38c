"""Oracle: what the README promises, done with a built distribution in an empty environment.

The wheel and the source distribution are built once, without writing into the repository, and
installed on every Python that the project names, as far as it can be found here.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.slow  # builds, downloads and installs

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [
    found[1]
    for one in PROJECT["classifiers"]
    if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one))
]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
# Nothing of this process decides what the others find or compile.
CLEAN = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS", "VIRTUAL_ENV")}

USE = """
import sys
import numpy as np
import lazyrich as lz

assert lz.__file__.startswith(sys.prefix), lz.__file__
x = np.array([[1.0, 2.0], [3.0, -1.0]])
assert np.allclose(lz.ntk(lambda w, x: x @ w, np.ones(2), x), x @ x.T)
history = lz.train(lz.preset("polynomial").changed({"n_steps": 3, "metrics": []}))
assert history.train_loss[-1] < history.train_loss[0]
print(lz.__version__)
"""


def run(*command: object, cwd: Path | str = "/") -> str:
    """The output of a command, which must end well."""
    words = [str(one) for one in command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=CLEAN)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@cache
def python_of(version: str) -> str | None:
    """A Python of a version that runs and makes environments; None if there is none here."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [sys.executable, shutil.which(f"python{version}")]
    named += [str(path / "bin" / "python") for path in sorted(pyenv.glob(f"{version}.*"))]
    said = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for one in filter(None, named):
        done = subprocess.run([one, "-c", said], capture_output=True, text=True, env=CLEAN)
        if done.returncode == 0 and done.stdout.strip() == version:
            return one
    return None


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with one wheel and one source distribution."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "venv", folder / "builder")
    python = folder / "builder/bin/python"
    run(python, *PIP, "install", "hatchling")
    run(python, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


def test_what_they_hold(built):
    [wheel], [source] = built.glob("*.whl"), built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    page = {f"lazyrich/explorer/page/{one}" for one in ("page.html", "example.json")}
    assert page | {"lazyrich/paper/claims.toml", "lazyrich/race/race.toml"} <= set(names)
    info = f"lazyrich-{PROJECT['version']}.dist-info/"
    assert {name.split("/")[0] + "/" for name in names} == {"lazyrich/", info}
    with tarfile.open(source) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= inside
    assert {f"src/{name}" for name in names if name.startswith("lazyrich/")} <= inside


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_it_installs_and_works(kind, version, built, tmp_path):
    python = python_of(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    [file] = built.glob(f"*.{kind}")
    run(python, "-m", "venv", tmp_path / "empty")
    programs = tmp_path / "empty/bin"
    constraints = ("-c", ROOT / "constraints.txt")
    wanted = f"lazyrich[cli] @ {file.as_uri()}"
    run(programs / "python", *PIP, "install", "--no-compile", *constraints, wanted)
    assert run(programs / "python", "-c", USE).strip() == PROJECT["version"]
    command = programs / "lazyrich"
    assert run(command, "--version").strip() == PROJECT["version"]
    run(command, "train", "polynomial", "--set", "n_steps=3", "--out", "run", cwd=tmp_path)
    assert list((tmp_path / "run").glob("*.nc"))
    explore_and_stop(command, tmp_path)
    shutil.rmtree(tmp_path / "empty")  # half a gigabyte


def explore_and_stop(command: Path, folder: Path) -> None:
    """The page is served under its address, under no other, and until Ctrl-C."""
    words = [str(command), "explore", "--no-browser"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder, env=CLEAN)
    assert server.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+/\S+", server.stdout.readline())
        assert found, "no address"
        with urlopen(found[0], timeout=30) as answer:
            page = answer.read().decode()
        assert answer.status == 200
        assert re.search(r"<title>.*lazyrich.*</html>", page, re.DOTALL)
        with pytest.raises(HTTPError):
            urlopen(found[0].rsplit("/", 2)[0] + "/wrong/", timeout=30)
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
    assert server.returncode == 130
