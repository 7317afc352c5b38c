"""Oracle: the store that a serial sweep gives, file by file; deaths made on purpose."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lazyrich._base import InputError
from lazyrich.sweeps import Store, Submission, experiment_key, grid, sweep
from lazyrich.training import Experiment
from sweeps.toys import Toy, begun, run_toys

TESTS = Path(__file__).parents[1]
# What may differ between two computations of the same experiment.
CIRCUMSTANCES = {"wall_seconds", "machine"}
TOYS = grid(Toy(), {"alpha": [0.5, 1.0, 2.0], "seed": range(4)})


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))


def quiet(toys, where, executor=None, **options):
    return sweep(toys, store=where, run=run_toys, progress=False, executor=executor, **options)


def assert_equal_stores(one, other):
    stores = [Store(one), Store(other)]
    for store in stores:
        store.scan()
    assert stores[0].kept.keys() == stores[1].kept.keys()
    left, right = (store.outcomes(store.kept) for store in stores)
    for key, outcome in left.items():
        facts = {k: v for k, v in outcome.facts.items() if k not in CIRCUMSTANCES}
        assert facts.items() <= right[key].facts.items()
        np.testing.assert_array_equal(outcome.steps, right[key].steps)
        for name, record in outcome.records.items():
            np.testing.assert_array_equal(record.values, right[key].records[name].values)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A Dask scheduler and two workers, started as people start them."""
    if os.environ.get("LAZYRICH_REQUIRE_EXTRAS") != "1":
        pytest.importorskip("distributed")
    with Cluster(tmp_path_factory.mktemp("dask"), n_workers=2) as cluster:
        yield cluster


class Cluster:
    """`dask scheduler` and `dask worker` as processes of their own."""

    def __init__(self, folder, n_workers, preload=None):
        self.folder, self.n_workers, self.preload = folder, n_workers, preload
        self.processes = []

    def start(self, *words):
        environment = dict(
            os.environ,
            PYTHONPATH=f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}",
            TOY_LOG=str(self.folder / "toys"),
        )
        command = [sys.executable, "-m", "dask", *words]
        with open(self.folder / f"log{len(self.processes)}", "w") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def __enter__(self):
        file = self.folder / "scheduler.json"
        self.start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        )
        extra = ["--preload", str(self.preload)] if self.preload else []
        for _ in range(self.n_workers):
            self.start(
                "worker",
                "--scheduler-file",
                str(file),
                "--nthreads",
                "1",
                "--no-dashboard",
                *extra,
            )
        deadline = time.time() + 60
        while not file.exists() and time.time() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.slow
def test_processes_give_the_store_that_serial_gives(tmp_path):
    serial = quiet(TOYS, tmp_path / "serial")
    spread = quiet(TOYS, tmp_path / "spread", "processes:2")
    assert_equal_stores(tmp_path / "serial", tmp_path / "spread")
    xr.testing.assert_equal(
        *(found.drop_vars("wall_seconds").drop_attrs() for found in (serial, spread))
    )
    processes = {process for process, _, _ in begun()}
    assert len(processes) == 3  # this one and two others


def test_threads_give_the_store_that_serial_gives(tmp_path):
    quiet(TOYS, tmp_path / "serial")
    quiet(TOYS, tmp_path / "threads", "threads:2", submission=Submission(batch_size=2))
    assert_equal_stores(tmp_path / "serial", tmp_path / "threads")
    assert {process for process, _, _ in begun()} == {str(os.getpid())}


@pytest.mark.parametrize("executor", ["serial", "threads:2"])
def test_every_outcome_is_told_once_and_what_was_stored_first(tmp_path, executor):
    quiet(TOYS[:4], tmp_path / "store")
    told = []
    submission = Submission(batch_size=1, on_kept=lambda found: told.append(dict(found)))
    quiet(TOYS, tmp_path / "store", executor, submission=submission)
    assert sorted(told[0]) == [0, 1, 2, 3]
    assert sorted(position for one in told for position in one) == list(range(len(TOYS)))
    for one in told:
        for position, outcome in one.items():
            assert outcome.key == experiment_key(TOYS[position])


def test_dask_gives_the_store_that_serial_gives(tmp_path, scheduler):
    quiet(TOYS, tmp_path / "serial")
    quiet(TOYS, tmp_path / "dask", f"dask:{scheduler.address}")
    assert_equal_stores(tmp_path / "serial", tmp_path / "dask")


def test_an_executor_of_ones_own_is_used_and_left_open(tmp_path):
    quiet(TOYS, tmp_path / "serial")
    with ThreadPoolExecutor(2) as pool:
        quiet(TOYS, tmp_path / "threads", pool)
        assert pool.submit(lambda: 1).result() == 1
    assert_equal_stores(tmp_path / "serial", tmp_path / "threads")


@pytest.mark.slow
def test_a_worker_that_dies_costs_only_what_it_had_in_hand(tmp_path):
    mark = tmp_path / "died"
    toys = [*TOYS, Toy(seed=9, deed=f"kill once:{mark}")]
    found = quiet(toys, tmp_path / "store", "processes:2", submission=Submission(batch_size=3))
    assert mark.exists()
    assert set(np.unique(found.status)) <= {"ok", "missing"}
    computed = [(alpha, seed) for _, alpha, seed in begun()]
    # The chunk of the dead worker ran twice at most; all others once.
    assert len(computed) - len(set(computed)) <= 3


@pytest.mark.slow
def test_an_experiment_that_kills_three_workers_is_marked_failed(tmp_path):
    toys = [*TOYS[:3], Toy(seed=9, deed="kill")]
    found = quiet(toys, tmp_path / "store", "processes:2")
    errors = found.error.values[found.status.values == "failed"]
    assert len(errors) == 1
    assert "died 3 times" in errors[0]
    assert sum(seed == "9" for _, _, seed in begun()) == 3
    assert int((found.status == "ok").sum()) == 3


@pytest.mark.slow
def test_a_killer_on_dask_is_marked_failed_and_the_rest_goes_on(tmp_path, scheduler):
    toys = [*TOYS[:3], Toy(seed=9, deed="kill")]
    found = quiet(toys, tmp_path / "store", f"dask:{scheduler.address}")
    assert int((found.status == "failed").sum()) == 1
    assert int((found.status == "ok").sum()) == 3


@pytest.mark.slow
def test_kill_minus_9_of_a_dask_worker_in_the_middle(tmp_path, scheduler, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(scheduler.folder / "toys"))
    (scheduler.folder / "toys").unlink(missing_ok=True)
    toys = grid(Toy(seconds=0.05), {"alpha": [0.5, 1.0, 2.0], "seed": range(10)})

    def kill_soon():
        deadline = time.time() + 60
        while len(begun()) < 8 and time.time() < deadline:
            time.sleep(0.01)
        os.kill(int(begun()[-1][0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_soon)
    killer.start()
    found = quiet(toys, tmp_path / "dask", f"dask:{scheduler.address}")
    killer.join()
    assert len(begun()) > len(toys)  # what the dead worker had in hand ran again
    assert (found.status == "ok").all()
    quiet(toys, tmp_path / "serial")
    assert_equal_stores(tmp_path / "serial", tmp_path / "dask")


@pytest.mark.slow
def test_a_pool_of_ones_own_that_breaks_gets_a_sentence(tmp_path):
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(InputError, match="takes no more work"),
    ):
        quiet([Toy(seed=9, deed="kill")], tmp_path / "store", pool)


def test_an_unreachable_scheduler_gets_a_sentence(tmp_path, require_extra, monkeypatch):
    require_extra("distributed")
    monkeypatch.setattr("lazyrich.sweeps._executors._CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127.0.0.1:1 "):
        quiet(TOYS, tmp_path / "store", "dask:tcp://127.0.0.1:1")
    assert not any((tmp_path / "store" / "experiments").iterdir())


@pytest.mark.parametrize("address", ["somewhere", "tcp://", "a:b", "no://a:1", "ucx://a:1"])
def test_what_is_no_address_is_refused_before_a_client_is_made(
    tmp_path, require_extra, monkeypatch, address
):
    """A client that fails at the form of its address prints a traceback when it is deleted."""
    require_extra("distributed")
    monkeypatch.setattr("distributed.Client", None)
    with pytest.raises(InputError, match=f"No Dask scheduler answers at {address} "):
        quiet(TOYS, tmp_path / "store", f"dask:{address}")


@pytest.mark.slow
def test_a_worker_with_another_version_is_refused(tmp_path, require_extra):
    require_extra("distributed")
    preload = tmp_path / "older.py"
    preload.write_text("import lazyrich.sweeps._worker as w\nw.package_version = lambda: '0.0.9'\n")
    with (
        Cluster(tmp_path, 1, preload) as cluster,
        pytest.raises(InputError, match=r"it has lazyrich 0\.0\.9, the sweep has"),
    ):
        quiet(TOYS, tmp_path / "store", f"dask:{cluster.address}")
    assert begun() == []


def test_a_run_that_cannot_be_sent_gets_a_sentence(tmp_path):
    with pytest.raises(InputError, match="top level of a module"):
        sweep(TOYS, store=tmp_path / "s", run=lambda toys: [], executor="processes:1")


ENGINE = {
    "task": {"kind": "polynomial", "dim": 6, "n_train": 30, "n_test": 60},
    "net": {"kind": "committee", "width": 20, "epsilon": 0.5},
    "optimizer": {"kind": "gradient_descent", "learning_rate": 2.0},
    "n_steps": 4000,
}


@pytest.mark.slow
def test_the_engine_gives_equal_stores_everywhere(tmp_path, scheduler):
    base = Experiment.from_json(json.dumps(ENGINE))
    experiments = grid(base, {"alpha": [0.5, 2.0], "width": [20, 30], "seed": range(3)})
    for name, executor in (
        ("serial", None),
        ("processes", "processes:2"),
        ("dask", f"dask:{scheduler.address}"),
    ):
        sweep(experiments, store=tmp_path / name, executor=executor, progress=False)
    # Runs this small are computed one by one everywhere, so their batches have one shape.
    assert_equal_stores(tmp_path / "serial", tmp_path / "processes")
    assert_equal_stores(tmp_path / "serial", tmp_path / "dask")


@pytest.mark.slow
def test_the_engine_killed_in_the_middle_goes_on(tmp_path):
    experiments = grid(Experiment.from_json(json.dumps(ENGINE)), {"seed": range(40)})
    (tmp_path / "base.json").write_text(json.dumps(ENGINE))
    words = ["sweep", str(tmp_path / "base.json"), "--over", "seed=0:40", "--store"]
    command = [sys.executable, "-c", "from lazyrich.cli import main; main()", *words]
    environment = dict(os.environ, PYTHONPATH=str(TESTS.parent / "src"))
    folder = tmp_path / "store" / "experiments"
    killed = subprocess.Popen([*command, str(tmp_path / "store")], env=environment)
    deadline = time.time() + 120
    while time.time() < deadline and len(list(folder.glob("[!.]*"))) < 3:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*")}
    assert 3 <= len(before) < 40
    sweep(experiments, store=tmp_path / "store", progress=False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    sweep(experiments, store=tmp_path / "undisturbed", progress=False)
    assert_equal_stores(tmp_path / "store", tmp_path / "undisturbed")
