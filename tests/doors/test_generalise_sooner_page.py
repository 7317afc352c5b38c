"""Oracle: the page itself: its method, entered as printed, takes the steps of its formula."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import read_changes
from lazyrich.race import default_edition
from lazyrich.training import preset

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "generalise-sooner.md"


def snippet(language):
    """The one block of a language that the page has for adding a method."""
    text = PAGE.read_text(encoding="utf-8").split("## Add a method")[1]
    [block] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return block


def test_the_method_is_its_formula(unchecked):
    place: dict[str, Any] = {"__name__": "lazyrich.training.methods._signs"}
    place["__package__"] = "lazyrich.training.methods"
    exec(compile(snippet("python"), "_signs.py", "exec"), place)
    one = place["Signs"](learning_rate=0.1, weight_decay=0.5)
    settings = {"learning_rate": 0.1, "weight_decay": 0.5, "rate_power": 1, "decay_power": 0}
    hyper = SimpleNamespace(alpha=1.0, optimizer=SimpleNamespace(**settings))
    step, params = one.transformation(hyper), jnp.array([2.0, -4.0])
    update, _ = step.update(jnp.array([3.0, -0.1]), step.init(params), params)
    np.testing.assert_allclose(update, [-0.1 * (1 + 1), -0.1 * (-1 - 2)], rtol=1e-6)


def test_it_is_thirty_lines():
    added = [line for line in snippet("diff").splitlines() if line.startswith("+")]
    assert (
        len(snippet("python").splitlines()) + len(added) + len(snippet("toml").splitlines()) <= 30
    )


@pytest.mark.slow
def test_a_method_that_is_entered_as_printed_runs_in_a_race(tmp_path):
    package = tmp_path / "src" / "lazyrich"
    shutil.copytree(ROOT / "src" / "lazyrich", package)
    (package / "training" / "methods" / "_signs.py").write_text(snippet("python"))
    kinds = package / "training" / "_optimizer_kinds.py"
    added = [line[1:] for line in snippet("diff").splitlines() if line[0] == "+"]
    [removed] = [line[1:] for line in snippet("diff").splitlines() if line[0] == "-"]
    text = kinds.read_text()
    assert removed in text
    text = text.replace(removed, "\n".join(added[1:]))
    kinds.write_text(text.replace("AnyOptimizer =", f"{added[0]}\n\nAnyOptimizer =", 1))
    with (package / "race" / "race.toml").open("a") as file:
        file.write("\n" + snippet("toml"))
    run = subprocess.run(
        [sys.executable, "-m", "lazyrich.cli", "race", "--smoke", "--arm", "signs"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "race" / "addition_mlp" / "signs.json").exists()


def test_every_command_of_the_page_names_what_there_is():
    text = PAGE.read_text(encoding="utf-8")
    edition = default_edition()
    for line in re.findall(r"^lazyrich race (.*)$", text, re.MULTILINE):
        for option, there in (("arm", edition.arm), ("task", edition.task)):
            assert set(re.findall(rf"--{option} (\w+)", line)) <= set(there)
    trained = re.findall(r"^lazyrich train (\w+) (.*)$", text, re.MULTILINE)
    assert trained
    for name, line in trained:
        changes = [part.removeprefix("--set ") for part in re.findall(r"--set \S+", line)]
        preset(name).changed(read_changes(changes))
