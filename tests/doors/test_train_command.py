"""Oracle: the same experiment trained from Python; exit codes and sentences as stated."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError, cli
from lazyrich.training import preset, train

SMALL = {
    "task.dim": 5,
    "task.n_train": 30,
    "task.n_test": 40,
    "width": 10,
    "learning_rate": 10.0,
    "n_steps": 50,
    "metrics": [],
}
CHANGES = [f"--set={name}={json.dumps(value)}" for name, value in SMALL.items()]


def run(*arguments):
    return cli.app(["train", *arguments], result_action="return_value", exit_on_error=False)


def test_what_is_written_is_what_python_computes(tmp_path, capsys):
    run("polynomial", *CHANGES, "--out", str(tmp_path))
    said = capsys.readouterr().out
    history = train(preset("polynomial").changed(SMALL))
    with xr.open_dataset(tmp_path / "history.nc", engine="h5netcdf") as dataset:
        assert np.array_equal(dataset.train_loss.values, history.train_loss)
        assert np.array_equal(dataset.step.values, history.steps)
        assert dataset.train_loss.units == "label units²"
    assert f"{history.test_loss[-1]:.4g}" in said
    assert "The train loss" in said
    assert (tmp_path / "history.png").stat().st_size > 1000
    run(str(tmp_path / "experiment.json"), "--out", str(tmp_path), "--json")
    summary = json.loads(capsys.readouterr().out)
    assert summary["train_loss"]["end"] == float(history.train_loss[-1])
    with pytest.raises(InputError, match="holds another experiment"):
        run("polynomial", *CHANGES, "--set=seed=1", "--out", str(tmp_path))


def test_a_committee_machine_is_trained_from_its_file_and_goes_on(tmp_path, capsys):
    """The second call reads the checkpoint of the first."""
    small = ["dim=4", "width=8", "n_train=10", "n_test=20", "n_probe=10", "n_steps=30"]
    changes = [f"--set={change}" for change in small]
    run("committee", *changes, "--show")
    path = tmp_path / "committee.json"
    path.write_text(capsys.readouterr().out)
    run(str(path), "--out", str(tmp_path / "run"), "--json")
    first = json.loads(capsys.readouterr().out)
    with np.load(tmp_path / "run" / "checkpoint.npz") as file:
        assert '"step": 30' in str(file["header"])
    run(str(path), "--out", str(tmp_path / "run"), "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["train_loss"] == first["train_loss"]
    sizes = {name: int(size) for name, size in (change.split("=") for change in small)}
    history = train(preset("committee").changed(sizes))
    assert first["train_loss"]["end"] == float(history.train_loss[-1])


def test_show_prints_what_can_be_read_back(tmp_path, capsys):
    run("transformer", "--set", "d_model=8", "--show")
    path = tmp_path / "mine.json"
    path.write_text(capsys.readouterr().out)
    run(str(path), "--show")
    assert capsys.readouterr().out == path.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["polinomial"], "'polinomial' is not a preset; choose polynomial, modular"),
        (["nowhere.json"], "nowhere.json cannot be read"),
        (["polynomial", "--set", "alpha"], "write it as NAME=VALUE"),
        (["polynomial", "--set", "alhpa=1"], "did you mean scaling.alpha?"),
        (["polynomial", "--set", "seed=-1"], "seed is -1, wanted greater than or equal to 0"),
        (["transformer", "--set", "n_heads=7"], "does not divide d_model"),
        (["digits", "--set", "source=mnist", "--set", "folder=/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(arguments, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_result_is_undisturbed(tmp_path):
    """Interrupted and resumed against one go."""
    changes = [*CHANGES, "--set=n_steps=300000", "--set=eval_steps=[0,1,300000]"]
    command = [sys.executable, "-c", "from lazyrich.cli import main; main()", "train"]
    command += ["polynomial", *changes, "--out", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        # The bar appears after the first steps; it writes nothing to a pipe before that.
        assert _appears(tmp_path / "cut" / "experiment.json")
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    if process.returncode == 0:
        pytest.skip("the run was over before it could be interrupted")
    assert process.returncode == 130, said
    assert "run the same command to go on" in said
    run("polynomial", *changes, "--out", str(tmp_path / "cut"))
    run("polynomial", *changes, "--out", str(tmp_path / "whole"))
    cut, whole = (tmp_path / name / "history.nc" for name in ("cut", "whole"))
    losses = [xr.load_dataset(path, engine="h5netcdf").train_loss.values for path in (cut, whole)]
    assert np.isfinite(losses).all()
    assert np.array_equal(*losses)


def _appears(path):
    for _ in range(600):
        if path.exists():
            return True
        time.sleep(0.1)
    return False
