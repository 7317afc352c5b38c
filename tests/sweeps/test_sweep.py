"""Oracle: a count of what was computed; the dataset of an undisturbed sweep."""

import itertools
import os
import threading
import time

import numpy as np
import pytest
import xarray as xr

from lazyrich._base import Config, InputError
from lazyrich.sweeps import Store, Submission, experiment_key, grid, sweep
from lazyrich.sweeps._progress import Counts
from sweeps import toys as toys_module
from sweeps.toys import Toy, begun, run_toys, toy_history, toy_loss

ABOUT_TIME = ["wall_seconds"]


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))


def quiet(toys, where, **options):
    return sweep(toys, store=where, run=run_toys, progress=False, **options)


def test_a_finished_sweep_computes_nothing(tmp_path):
    toys = grid(Toy(), {"alpha": [0.5, 1.0], "seed": range(3)})
    first = quiet(toys, tmp_path / "store")
    assert len(begun()) == 6
    xr.testing.assert_identical(quiet(toys, tmp_path / "store"), first)
    assert len(begun()) == 6


def test_a_grid_that_grows_computes_what_is_new(tmp_path):
    quiet(grid(Toy(), {"alpha": [0.5, 1.0], "seed": range(3)}), tmp_path / "store")
    grown = grid(Toy(), {"alpha": [0.5, 0.7, 1.0], "seed": range(4)})
    found = quiet(grown, tmp_path / "store")
    computed = [(alpha, seed) for _, alpha, seed in begun()]
    assert len(computed) == 12
    assert len(set(computed)) == 12
    xr.testing.assert_equal(found, quiet(grown, tmp_path / "other"))


def test_a_new_numerics_version_computes_all_again_and_keeps_the_old(tmp_path, monkeypatch):
    toys = grid(Toy(), {"seed": range(3)})
    quiet(toys, tmp_path / "store")
    before = {path: path.read_bytes() for path in (tmp_path / "store/experiments").iterdir()}
    monkeypatch.setitem(toys_module.VERSIONS, "training", 2)
    quiet(toys, tmp_path / "store")
    assert len(begun()) == 6
    after = {path: path.read_bytes() for path in (tmp_path / "store/experiments").iterdir()}
    assert len(after) == 6
    assert before.items() <= after.items()


def test_an_experiment_that_raises_is_kept_as_failed_and_the_rest_goes_on(tmp_path, caplog):
    toys = grid(Toy(), {"seed": range(5)})
    toys[2] = toys[2].changed({"deed": "raise"})
    found = quiet(toys, tmp_path / "store")
    assert "1 experiments failed; the first: ZeroDivisionError: no walk with seed 2" in caplog.text
    assert (found.status == "failed").sum() == 1
    assert "no walk with seed 2" in str(found.error.sel(seed=2).values)
    for seed in (0, 1, 3, 4):
        np.testing.assert_array_equal(found.train_loss.sel(seed=seed), toy_loss(toys[seed]))
    n_before = len(begun())
    quiet(toys, tmp_path / "store")
    assert len(begun()) == n_before  # a failure is an answer too
    quiet(toys, tmp_path / "store", submission=Submission(retry_failed=True))
    assert len(begun()) == n_before + 1


def test_duplicates_are_named_before_anything_runs(tmp_path):
    toys = grid(Toy(), {"seed": range(3)})
    with pytest.raises(InputError, match=r"places 1 and 3 \(seed=1\)"):
        quiet([*toys, toys[1]], tmp_path / "store")
    with pytest.raises(InputError, match="no experiments"):
        quiet([], tmp_path / "store")
    assert begun() == []
    assert not (tmp_path / "store").exists()


def test_what_another_sweep_has_finished_meanwhile_is_taken_over(tmp_path):
    toys = grid(Toy(), {"seed": range(4)})

    def run_and_be_overtaken(given):
        for toy in given:
            if toy.seed == 0:
                quiet(toys[2:], tmp_path / "store")
            yield toy_history(toy)

    found = sweep(
        toys,
        store=tmp_path / "store",
        run=run_and_be_overtaken,
        progress=False,
        submission=Submission(batch_size=2),
    )
    assert sorted(seed for _, _, seed in begun()) == ["2", "3"]
    np.testing.assert_array_equal(found.train_loss.sel(seed=3), toy_loss(toys[3]))


def test_a_run_that_tells_and_returns_is_kept_once(tmp_path):
    def run(given, on_finished=None):
        histories = [toy_history(toy) for toy in given]
        assert on_finished is not None
        on_finished(1, histories[1])
        return histories

    toys = grid(Toy(), {"seed": range(3)})
    found = sweep(toys, store=tmp_path / "store", run=run, progress=False)
    assert (found.status == "ok").all()


def test_a_run_that_leaves_one_out_fails_that_one(tmp_path):
    def run(given):
        return [toy_history(toy) for toy in given if toy.seed != 1]

    found = sweep(grid(Toy(), {"seed": range(3)}), store=tmp_path / "s", run=run, progress=False)
    assert found.status.values.tolist() == ["ok", "failed", "ok"]
    assert "without giving it back" in str(found.error.sel(seed=1).values)


def test_threads_go_on_while_what_came_back_is_handed_over(tmp_path):
    """Two threads begin a third call before the caller is done with the first."""
    is_third, calls, waited = threading.Event(), itertools.count(1), []

    def run(given):
        if next(calls) == 3:
            is_third.set()
        yield from map(toy_history, given)

    def on_kept(outcomes):
        if outcomes:
            waited.append(is_third.wait(5))

    submission = Submission(batch_size=1, on_kept=on_kept)
    toys = grid(Toy(), {"seed": range(3)})
    options = {"executor": "threads:2", "progress": False, "submission": submission}
    sweep(toys, store=tmp_path / "store", run=run, **options)
    assert waited == [True] * 3


def test_a_store_in_memory_is_a_store(tmp_path):
    toys, where = grid(Toy(), {"seed": range(4)}), f"memory://{tmp_path}"
    first = quiet(toys[:2], where)
    found = quiet(toys, where)
    assert len(begun()) == 4
    xr.testing.assert_equal(found.sel(seed=[0, 1]).drop_attrs(), first.drop_attrs())


def test_a_read_only_store_that_is_complete_can_be_opened(tmp_path, monkeypatch):
    toys = grid(Toy(), {"seed": range(3)})
    quiet(toys, tmp_path / "store")

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for name in ("write", "try_writing"):
        monkeypatch.setattr(f"lazyrich.sweeps.store._storage.Folder.{name}", refuse)
    assert quiet(toys, tmp_path / "store").sizes["seed"] == 3
    with pytest.raises(InputError, match="cannot be written \\(Read-only file system\\)"):
        quiet(grid(Toy(), {"seed": range(4)}), tmp_path / "store")
    assert len(begun()) == 3


def test_an_executor_that_is_none_gets_a_sentence(tmp_path):
    for word in ("thread", "processes:", "processes:0", "dask:"):
        with pytest.raises(InputError, match="wanted serial, processes:N"):
            quiet([Toy()], tmp_path / "store", executor=word)


def test_batches_hold_what_one_compilation_serves(tmp_path):
    seen = []

    def run(given):
        seen.append(list(given))
        return [toy_history(toy) for toy in given]

    axes = {"alpha": [0.5, 1.0], "net.width": [3, 4], "seed": range(3)}
    sweep(grid(Toy(), axes), store=tmp_path / "store", run=run, progress=False)
    assert [len(batch) for batch in seen] == [6, 6]
    assert all(len({toy.net.width for toy in batch}) == 1 for batch in seen)


def test_counts_read_as_a_line():
    counts = Counts(10, kept=2, computed=3, failed=1, running=2, began=time.monotonic() - 6)
    line = str(counts)
    assert line.startswith("5 done, 2 running, 1 failed, 2 left of 10, 30/min, 8 s left")


def test_progress_is_a_plain_line_where_there_is_no_terminal(tmp_path, capsys):
    sweep(grid(Toy(), {"seed": range(3)}), store=tmp_path / "store", run=run_toys)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("sweep: 0 done, 3 running, 0 failed, 0 left of 3")
    assert lines[-1].startswith("sweep: 3 done, 0 running, 0 failed, 0 left of 3")


@pytest.mark.slow  # more than a thousand files
def test_memory_of_the_writer_stays_flat(tmp_path, monkeypatch):
    """Of 1100 experiments the writer holds at most a pack's worth at a time."""
    most = 0

    def run(given):
        for toy in given:
            yield toy_history(toy)

    class Watched(Store):
        def save(self, outcome):
            nonlocal most
            super().save(outcome)
            most = max(most, len(self._cache._fresh))

    monkeypatch.setattr("lazyrich.sweeps._sweep.Store", Watched)
    toys = grid(Toy(), {"seed": range(1100)})
    found = sweep(toys, store=tmp_path / "store", run=run, progress=False)
    assert 900 < most <= 1000
    assert found.sizes["seed"] == 1100
    assert len(os.listdir(tmp_path / "store" / "experiments")) == 1100
    assert experiment_key(toys[-1]) in {str(key) for key in found.key.values}


class Path(Config):
    length: float = 1.0


class Curve(Path):
    bend: float = 0.0


class Walk(Config):
    path: Path = Path()
    paths: tuple[Path, ...] = ()
    by_name: dict[str, Path] | None = None


@pytest.mark.parametrize("put", [
    lambda path: {"path": path}, lambda path: {"paths": (Path(), path)},
    lambda path: {"by_name": {"a": path}},
])  # fmt: skip
def test_a_subclass_in_a_field_of_its_base_class_is_another_experiment(put):
    paths = [Path(), Curve(), Curve(bend=1.0), Curve(bend=2.0)]
    assert len({experiment_key(Walk(**put(path))) for path in paths}) == 4
