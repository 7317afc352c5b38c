"""Oracle: lazyrich.theory and lazyrich.kernels in double precision, for the page's arithmetic."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from explorer import golden
from explorer.play_curves import play_curves
from explorer.play_settings import PlaySettings
from lazyrich.training import CommitteeExperiment, train

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "src" / "lazyrich" / "explorer" / "page"
LINES = [json.loads(line) for line in golden.FILE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def node():
    """The program; skips where there is none, unless it was promised."""
    program = shutil.which("node")
    if program is None:
        if os.environ.get("LAZYRICH_REQUIRE_NODE") == "1":
            pytest.fail("no node here (Debian: nodejs)")
        pytest.skip("no node here")
    return program


def compared(node, *, first, stride, whole=False):
    arguments = [node, HERE / "compare.mjs", PAGE, golden.FILE, first, stride]
    arguments += ["whole"] if whole else []
    run = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def require_equal(found):
    for one in found:
        gaps = {name: np.inf if gap is None else gap for name, gap in one["gaps"].items()}
        assert set(gaps) == set(LINES[one["number"]]["curves"])
        assert max(gaps.values()) < 1e-9, (one["number"], gaps)


def test_some_settings_agree_up_to_step_1000(node):
    found = compared(node, first=0, stride=12)
    assert len(found) == 5
    require_equal(found)


def test_javascript_alone_gives_the_same_bits(node):
    """Where WebAssembly is missing or forbidden the page has the same curves, only later."""
    arguments = [node, HERE / "products.mjs", PAGE, golden.FILE]
    fast, plain = (
        json.loads(subprocess.run(list(map(str, one)), capture_output=True, check=True).stdout)
        for one in (arguments, [*arguments, "plain"])
    )
    assert all(one["isEqual"] for one in fast["products"] + plain["products"])
    assert all(one["isCompiled"] == one["isFast"] for one in fast["products"])
    assert not any(one["isCompiled"] for one in plain["products"])
    assert fast["curves"] == plain["curves"]


@pytest.mark.slow
def test_fifty_settings_agree_up_to_step_1000_and_cross_at_the_same_steps(node):
    found = compared(node, first=0, stride=1, whole=True)
    assert len(found) == 50
    require_equal(found)
    n_crossings = 0
    for one in found:
        for name, steps in LINES[one["number"]]["crossings"].items():
            for step, wanted in zip(one["crossings"][name], steps, strict=True):
                if wanted is None or step is None:
                    assert step == wanted, (one["number"], name)
                else:
                    n_crossings += wanted > 1000
                    assert step == pytest.approx(wanted, rel=0.01), (one["number"], name)
    assert n_crossings > 20


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, 50, 7))
def test_the_file_is_what_python_computes(number):
    line = LINES[number]
    assert line["settings"] == golden.random_settings(number).model_dump(mode="json")
    settings = PlaySettings(**line["settings"])
    for name, values in play_curves(settings, np.array(line["steps"])).items():
        wanted = line["curves"][name]
        # Where the points determine the target, regression leaves a loss that is rounding alone.
        np.testing.assert_allclose(values, wanted, rtol=1e-9, atol=1e-19, err_msg=name)


@pytest.mark.slow
def test_it_is_the_run_of_the_same_settings():
    """``lazyrich train committee`` with the page's settings gives the page's curves."""
    settings = PlaySettings(dim=6, n_train=25, width=30, alpha=2.0, seed=3, center=False)
    experiment = CommitteeExperiment(
        dim=6,
        n_train=25,
        width=30,
        alpha=2.0,
        seed=3,
        center=False,
        epsilon=settings.epsilon,
        learning_rate=settings.learning_rate,
        n_steps=1000,
        n_probe=100,
        n_evals=10,
        precision="float64",
    )
    history = train(experiment)
    curves = play_curves(settings, history.steps)
    old = {
        "linearized_train_loss": "linearized_train_loss",
        "linearized_test_loss": "linearized_test_loss",
    }
    for name in set(curves) - {"weight_norm"}:
        recorded = history.records[old.get(name, name)].values
        np.testing.assert_allclose(curves[name], recorded, rtol=1e-8, err_msg=name)
