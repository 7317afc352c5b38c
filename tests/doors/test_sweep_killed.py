"""Oracle: an undisturbed sweep; the log of what was begun, and when."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lazyrich.sweeps import experiment_key, grid, sweep
from sweeps.toys import Toy, begun, run_toys

TESTS = Path(__file__).parents[1]
TOYS = grid(Toy(seconds=0.1), {"alpha": list(np.arange(1.0, 13.0)), "seed": range(10)})
DRIVER = """
import sys, numpy as np
from sweeps.toys import Toy, run_toys
from lazyrich.sweeps import grid, sweep
if __name__ == "__main__":
    toys = grid(Toy(seconds=0.1), {"alpha": list(np.arange(1.0, 13.0)), "seed": range(10)})
    sweep(toys, store=sys.argv[1], run=run_toys, executor=sys.argv[2])
"""


def start(folder, executor="serial"):
    script = folder / "driver.py"
    script.write_text(DRIVER)
    environment = dict(
        os.environ,
        PYTHONPATH=f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}",
        TOY_LOG=str(folder / "log"),
    )
    command = [sys.executable, str(script), str(folder / "store"), executor]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finished(folder):
    names = {f"{experiment_key(toy)}.nc": toy for toy in TOYS}
    paths = (folder / "store" / "experiments").glob("[!.]*.nc")
    return {
        (f"{names[path.name].scaling.alpha:g}", str(names[path.name].seed)): path.stat().st_mtime_ns
        for path in paths
    }


def wait_until_begun(n, process):
    deadline = time.time() + 120
    while len(begun()) < n and time.time() < deadline and process.poll() is None:
        time.sleep(0.005)


def kill_and_check(folder, n_kills, executor, rng):
    """Kill a sweep again and again; after each kill, look at what it did twice or lost."""
    n_with_progress = 0
    for number in range(n_kills):
        before, n_begun = finished(folder), len(begun())
        process = start(folder, executor)
        if number % 5 == 4:
            time.sleep(rng.uniform(0, 3))  # at any moment, of starting up too
        else:
            wait_until_begun(n_begun + 1, process)
            time.sleep(rng.exponential(0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(before) < len(TOYS), "the sweep was done before it was killed so often"
        time.sleep(0.3)  # orphans of a process pool notice, and end
        after = finished(folder)
        assert before.items() <= after.items(), "a finished experiment was lost or written again"
        again = {(alpha, seed) for _, alpha, seed in begun()[n_begun:]} & before.keys()
        assert not again, f"computed again: {again}"
        n_with_progress += len(after) > len(before)
    return n_with_progress


def check_end(folder, tmp_path, executor="serial"):
    process = start(folder, executor)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    found, wanted = (
        sweep(TOYS, store=where, run=run_toys, progress=False)
        for where in (folder / "store", tmp_path / "undisturbed")
    )
    xr.testing.assert_equal(*(one.drop_vars("wall_seconds") for one in (found, wanted)))
    assert not list((folder / "store").glob("set-aside/*"))


def test_kill_minus_9_of_the_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    assert kill_and_check(tmp_path, 1, "serial", np.random.default_rng(1)) == 1
    check_end(tmp_path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "processes:2"])
def test_kill_minus_9_of_the_driver_twenty_times(tmp_path, monkeypatch, executor):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    n_with_progress = kill_and_check(tmp_path, 20, executor, np.random.default_rng(0))
    assert n_with_progress >= 5
    check_end(tmp_path, tmp_path, executor)


def test_workers_end_with_their_driver_and_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    process = start(tmp_path, "processes:1")
    wait_until_begun(20, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert "run the same command to go on" in err
    worker = int(begun()[-1][0])
    deadline = time.time() + 10
    while is_alive(worker) and time.time() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
    before = finished(tmp_path)
    assert before
    n_begun = len(begun())
    sweep(TOYS, store=tmp_path / "store", run=run_toys, progress=False)
    assert not {(alpha, seed) for _, alpha, seed in begun()[n_begun:]} & before.keys()


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
