"""Oracle: exit codes and sentences as stated; an undisturbed run for a killed one."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import jax
import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from lazyrich import cli

SMALL = [
    f"--set={setting}"
    for setting in (
        "dim=6",
        "width=12",
        "n_train=40",
        "n_steps=300",
        "n_test=200",
        "epsilon=0.3",
        "learning_rate=0.2",
    )
]


def lazyrich(*arguments, **kwargs):
    environment = dict(os.environ, JAX_ENABLE_X64="0", COLUMNS="100")
    command = [sys.executable, "-c", "from lazyrich.cli import main; main()", *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def finish(process):
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A folder with a figure of three seeds, in the precision of the command line."""
    folder = tmp_path_factory.mktemp("reproduced")
    arguments = ["reproduce", "fig4", *SMALL, "--seeds=3", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(False):
        printed = io.StringIO()
        patch.setattr(sys, "stdout", printed)
        cli.app([*arguments, "--json"], result_action="return_value")
    return arguments, folder, printed.getvalue()


def test_json_is_json_alone(computed):
    _, folder, printed = computed
    assert json.loads(printed) == json.loads((folder / "claims.json").read_text())["figures"]


def test_a_figure_from_the_shell(computed):
    """Of runs that are in the store: the interrupted command below trains them in the shell."""
    arguments, folder, _ = computed
    before = experiments_in(folder)
    (folder / "fig4.png").unlink()
    code, out, err = finish(lazyrich(*arguments))
    assert code == 0, err
    assert "three terms sum to the loss" in out
    assert str(folder / "fig4.png") in out
    assert (folder / "fig4.png").exists()
    assert len(before) == 3
    assert experiments_in(folder) == before  # what was finished is found, and not computed again
    code, again, _ = finish(lazyrich("claims", "--out", str(folder)))
    assert code == 0
    assert again.splitlines() == out.splitlines()[: len(again.splitlines())]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["reproduce", "fig44"], "no figure 'fig44'; did you mean fig4"),
        (["reproduce"], "figures"),
        (["reproduce", "fig4", "--preset", "fast"], "preset"),
        (["reproduce", "fig4", "--seeds", "0"], "--seeds is 0"),
        (["reproduce", "fig4", "--seeds", "few"], "seeds"),
        (["reproduce", "fig4", "--set", "alpha"], "NAME=VALUE"),
        (["reproduce", "fig4", "--set", "alfa=1"], "did you mean alpha"),
        (["reproduce", "fig4", "--set", "epsilon=inf"], "epsilon: 'inf' is not a number"),
        (["reproduce", "fig4", "--out", "/dev/null/out"], "cannot be written"),
        (["claims", "--out", "/nowhere"], "run `lazyrich reproduce all"),
        (["claim"], "claim"),
        (["reproduce", "fig4", "--colour"], "--colour"),
    ],
)
def test_bad_input_leaves_with_2_and_one_sentence(arguments, words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if line.startswith("lazyrich: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in printed


@pytest.mark.slow
def test_kill_minus_9_loses_no_finished_run(tmp_path):
    # Batches of eight runs, and so many that the process is killed between two of them.
    arguments = ["reproduce", "fig4", *SMALL, "--set=n_steps=20000", "--seeds", "24"]
    killed = lazyrich(*arguments, "--out", str(tmp_path / "a"))
    runs = tmp_path / "a" / "store" / "experiments"
    deadline = time.time() + 120
    while time.time() < deadline and len(list(runs.glob("[!.]*.nc"))) < 2:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("[!.]*.nc")}
    assert 2 <= len(finished) < 24
    code, _, err = finish(lazyrich(*arguments, "--out", str(tmp_path / "a")))
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    code, _, err = finish(lazyrich(*arguments, "--out", str(tmp_path / "b")))
    assert code == 0, err
    first, second = (
        xr.open_datatree(tmp_path / name / "fig4.nc", engine="h5netcdf")["runs"].to_dataset()
        for name in "ab"
    )
    # Batches of other sizes round in another order.
    for name in ("train_loss", "test_loss", "linear_term"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_kill_minus_9_at_random_moments_of_several_figures(tmp_path):
    # The engine's descent and AdamW, the exact descent and the flow; data, pictures and claims.
    figures = ("fig2", "fig4", "fig8", "fig14")
    arguments = ["reproduce", *figures, "--set=n_steps=300", "--set=n_train=100", "--seeds=2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    begun = time.time()
    code, _, err = finish(lazyrich(*arguments, "--out", str(whole)))
    assert code == 0, err
    moments = np.random.default_rng(0).uniform(0.2, 1, size=6) * (time.time() - begun)
    finished = {}
    for moment in moments:
        process = lazyrich(*arguments, "--out", str(killed))
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        earlier, finished = finished, experiments_in(killed)
        assert earlier.items() <= finished.items()
        assert_whole(killed)
    assert len(finished) > 10  # not all kills came before the first run was done
    code, _, err = finish(lazyrich(*arguments, "--out", str(killed)))
    assert code == 0, err
    assert finished.items() <= experiments_in(killed).items()
    for figure in figures:
        assert (killed / f"{figure}.png").exists()
        trees = [
            xr.open_datatree(out / f"{figure}.nc", engine="h5netcdf") for out in (whole, killed)
        ]
        assert set(trees[0].children) == set(trees[1].children)
        for panel, node in trees[0].children.items():
            for name in ("train_loss", "test_loss"):
                # Batches of other sizes round in another order.
                np.testing.assert_allclose(
                    node[name], trees[1][panel][name], rtol=1e-3, atol=1e-6, err_msg=panel
                )


def experiments_in(out):
    """When each finished experiment of a store was written."""
    runs = (out / "store" / "experiments").glob("[!.]*.nc")
    return {path: path.stat().st_mtime_ns for path in runs}


def assert_whole(out):
    """Every file that has its final name can be read."""
    for path in out.glob("[!.]*.nc"):
        xr.open_datatree(path, engine="h5netcdf").close()
    for path in out.glob("[!.]*.png"):
        assert matplotlib.image.imread(path).ndim == 3
    for path in out.glob("claims.json"):
        json.loads(path.read_text())


def test_an_interrupt_stops_soon_and_says_how_to_go_on(tmp_path):
    settings = [one for one in SMALL if "n_steps" not in one]
    arguments = ["reproduce", "fig4", *settings, "--set=n_steps=20000000", "--seeds", "3"]
    process = lazyrich(*arguments, "--out", str(tmp_path))
    deadline = time.time() + 120
    while time.time() < deadline and not (tmp_path / "store").exists():
        time.sleep(0.05)
    time.sleep(2)  # into the run itself
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "run the same command to go on" in err
    assert "Traceback" not in err
