"""Oracle: exit codes and sentences as stated; the real engine, run by run, for a swept grid."""

import csv
import json

import numpy as np
import pytest
import xarray as xr
from pydantic import create_model

from lazyrich import cli
from lazyrich._base import Config, Status
from lazyrich.sweeps import Store, open_dataset, outcome_of
from lazyrich.training import Experiment, History, Record, preset, train

BASE = {
    "task": {"kind": "polynomial", "dim": 4, "n_train": 12, "n_test": 20},
    "net": {"kind": "committee", "width": 8, "epsilon": 0.5},
    "optimizer": {"kind": "gradient_descent", "learning_rate": 2.0},
    "n_steps": 20,
    "n_evals": 6,
}
AXES = ["--over", "alpha=0.5,2", "--over", "seed=0:3"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.json"
    path.write_text(json.dumps(BASE))
    return str(path)


@pytest.fixture(scope="module")
def store(base, tmp_path_factory):
    where = str(tmp_path_factory.mktemp("sweep") / "store")
    run("sweep", base, *AXES, "--store", where)
    return where


def run(*arguments):
    cli.app(list(arguments), result_action="return_value")


def test_a_swept_grid_is_what_the_engine_gives_one_by_one(store):
    found = open_dataset(store)
    assert dict(found.status.sizes) == {"alpha": 2, "seed": 3}
    base = Experiment.from_json(json.dumps(BASE))
    for alpha in (0.5, 2.0):
        for seed in range(3):
            history = train(base.changed({"scaling.alpha": alpha, "seed": seed}))
            cell = found.sel(alpha=alpha, seed=seed)
            np.testing.assert_array_equal(cell.step, history.steps)
            for name, record in history.records.items():
                # One by one or in a batch: equal up to rounding in float32.
                np.testing.assert_allclose(
                    cell[name].values, record.values, rtol=2e-5, atol=1e-6, err_msg=name
                )


def test_committee_machines_are_swept_from_the_shell(tmp_path):
    where = str(tmp_path / "store")
    small = ["--set", "dim=4", "--set", "width=8", "--set", "n_train=10", "--set", "n_test=20"]
    small += ["--set", "n_probe=0", "--set", "n_steps=20"]
    run("sweep", "committee", *small, "--over", "alpha=0.5,2", "--store", where)
    found = open_dataset(where)
    assert dict(found.status.sizes) == {"alpha": 2}
    sizes = {"dim": 4, "width": 8, "n_train": 10, "n_test": 20, "n_probe": 0, "n_steps": 20}
    for alpha in (0.5, 2.0):
        one = preset("committee").changed(sizes | {"alpha": alpha})
        np.testing.assert_allclose(
            found.train_loss.sel(alpha=alpha), train(one).train_loss, rtol=2e-5
        )


def test_the_same_command_again_goes_on(base, store, capsys):
    run("sweep", base, *AXES, "--store", store, "--dry")
    assert "6 experiments, 6 of them are in" in capsys.readouterr().out
    run("sweep", base, "--over", "alpha=0.5,1,2", "--over", "seed=0:3", "--store", store, "--dry")
    assert "9 experiments, 6 of them are in" in capsys.readouterr().out


def test_show_lists_filters_and_exports(store, tmp_path, capsys):
    run("show", store, "--where", "alpha<=1", "--where", "seed!=2", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in rows] == [0, 1]
    found = open_dataset(store, ["alpha=0.5"])
    last = [float(found.test_loss.sel(seed=seed)[-1]) for seed in (0, 1)]
    assert [row["test_loss"] for row in rows] == last
    run("show", store, "--csv", str(tmp_path / "all.csv"), "--plot", str(tmp_path / "all.png"))
    printed = capsys.readouterr().out
    assert "6 experiments in" in printed
    with open(tmp_path / "all.csv", newline="") as file:
        table = list(csv.DictReader(file))
    whole = open_dataset(store)
    assert len(table) == 6 * whole.sizes["step"]
    for row in table[:: len(table) // 7]:
        cell = whole.sel(alpha=float(row["alpha"]), seed=int(row["seed"]))
        value = cell.train_loss.sel(step=int(row["step"]))
        assert np.float32(row["train_loss"]) == value
    assert (tmp_path / "all.png").stat().st_size > 10_000


def test_a_picture_of_another_kind_is_refused(store, tmp_path, capsys):
    for name in ("all.bmp", "all.v2"):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["show", store, "--plot", str(tmp_path / name)])
        said = capsys.readouterr()
        assert "give a name that ends in .png or .pdf" in said.err
        assert not said.out
    assert not any(tmp_path.iterdir())


def test_show_writes_parquet(store, tmp_path, require_extra):
    require_extra("pyarrow")
    import pandas as pd

    run("show", store, "--parquet", str(tmp_path / "all.parquet"))
    table = pd.read_parquet(tmp_path / "all.parquet")
    one = table[(table.alpha == 2.0) & (table.seed == 1)].set_index("step").test_loss
    wanted = open_dataset(store).test_loss.sel(alpha=2.0, seed=1)
    np.testing.assert_array_equal(one.to_numpy(np.float32), wanted)


def test_axes_that_change_together_from_the_shell(base, tmp_path):
    where = str(tmp_path / "store")
    run(
        "sweep",
        base,
        "--store",
        where,
        "--set",
        "n_evals=3",
        "--zip",
        "alpha=1,2",
        "--zip",
        "n_steps=5,10",
    )
    found = open_dataset(where)
    assert dict(found.status.sizes) == {"n_steps": 2} or dict(found.status.sizes) == {"alpha": 2}
    assert set(found.alpha.values) == {1.0, 2.0}
    assert found.alpha.dims == found.n_steps.dims


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["sweep", "BASE", "--over", "alfa=1"], "did you mean scaling.alpha?"),
        (["sweep", "BASE", "--over", "alpha"], "NAME=VALUES"),
        (
            ["sweep", "BASE", "--over", "alpha=1,2", "--set", "scaling.alpha=3"],
            "and alpha is an axis",
        ),
        (["sweep", "BASE", "--over", "alpha=1,1"], "more than once"),
        (
            ["sweep", "BASE", "--over", "alpha=-1,1,0", "--over", "width=0,4"],
            "5 of 6 experiments cannot be made, so none was run",
        ),
        (["sweep", "BASE", "--executor", "threads"], "wanted serial, processes:N"),
        (["sweep", "BASE", "--executor", "dask:nowhere"], "nowhere"),
        (["sweep", "BASE", "--store", "/dev/null/store"], "cannot be read (Not a directory)"),
        (["sweep", "BASE", "--batch-size", "0"], "--batch-size is 0"),
        (["sweep", "/nowhere/base.json"], "cannot be read"),
        (["show", "/nowhere/store"], "no experiments in /nowhere/store"),
        (["show", "STORE", "--where", "alfa=1"], "did you mean scaling.alpha?"),
        (["show", "STORE", "--where", "kind=mlp"], "it could be"),
        (["show", "STORE", "--where", "alpha"], "cannot be read"),
        (["show", "STORE", "--where", "alpha=77"], "None of the 6 experiments"),
        (["show", "STORE", "--csv", "/nowhere/all.csv"], "cannot be written"),
    ],
)
def test_bad_input_leaves_with_2_and_one_sentence(
    arguments, words, base, store, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lazyrich.sweeps._executors._CONNECT_SECONDS", 0.5)
    given = [{"BASE": base, "STORE": store}.get(word, word) for word in arguments]
    with pytest.raises(SystemExit) as left:
        cli.main(given)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    (line,) = (line for line in printed.splitlines() if line.startswith("lazyrich: "))
    assert words in line
    assert "Traceback" not in printed


def test_a_store_holds_float32_as_float32(store):
    assert open_dataset(store).train_loss.dtype == np.float32
    assert isinstance(open_dataset(store), xr.Dataset)


def test_a_store_that_ends_with_the_command_is_refused(base, capsys):
    for arguments in (["sweep", base], ["reproduce", "fig4"]):
        with pytest.raises(SystemExit) as left:
            cli.main([*arguments, "--store", "memory://x"])
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert "ends with this command, so nothing would be kept" in said
        assert said.count("\n") == 1


def test_tidy_sets_aside_what_is_damaged(base, tmp_path, capsys):
    where = tmp_path / "store"
    run("sweep", base, "--store", str(where))
    stray = where / "experiments" / f"{0:064x}.nc"
    stray.write_text("half")
    run("show", str(where), "--json")
    run("sweep", base, "--store", str(where))
    assert stray.exists()
    run("sweep", base, "--store", str(where), "--tidy")
    assert "set aside as damaged: 1" in capsys.readouterr().out
    assert [path.read_text() for path in (where / "set-aside").iterdir()] == ["half"]


def test_a_table_shows_the_settings_that_fit_and_counts_the_rest(tmp_path, capsys, monkeypatch):
    fields = [f"setting_{k}" for k in range(50)]
    kind = create_model("Wide", __base__=Config, **dict.fromkeys(fields, (float, 0.0)))
    store = Store(tmp_path / "s")
    for value in (1.0, 123456.0):
        records = {f"{part}_loss": Record(np.ones(1)) for part in ("train", "test")}
        one = kind(**dict.fromkeys(fields, value))
        store.save(outcome_of(History(one, np.zeros(1, int), records, Status.ok, None, 0.1)))
    monkeypatch.setenv("COLUMNS", "100")
    run("show", str(store.where))
    printed = capsys.readouterr().out
    head = next(line for line in printed.splitlines() if line.startswith("┏"))
    widths = [len(column) - 2 for column in head.strip("┏┓").split("┳")]
    assert len(head) == len(head.rstrip()) <= 100
    assert head.endswith("┓")
    assert min(widths) >= 4
    n_settings = len(widths) - 6
    assert n_settings >= 2
    assert f"{50 - n_settings} more settings differ" in printed
    assert "1.235e+05" in printed  # no cell is folded
