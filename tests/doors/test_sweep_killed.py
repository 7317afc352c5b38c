"""Oracle: the curves in closed form; the log of what was begun, and when."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lazyrich.sweeps import experiment_key, outcome_of, sweep, to_dataset
from sweeps.toys import LONG, SHORT, begun, run_toys, toy_history

TESTS = Path(__file__).parents[1]
DRIVER = """
import sys
from sweeps.toys import LONG, SHORT, run_toys
from lazyrich.sweeps import sweep
if __name__ == "__main__":
    toys = {"SHORT": SHORT, "LONG": LONG}[sys.argv[3]]
    sweep(toys, store=sys.argv[1], run=run_toys, executor=sys.argv[2])
"""


def start(folder, toys, executor="serial"):
    script = folder / "driver.py"
    script.write_text(DRIVER)
    environment = dict(
        os.environ,
        PYTHONPATH=f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}",
        TOY_LOG=str(folder / "log"),
    )
    which = "SHORT" if toys is SHORT else "LONG"
    command = [sys.executable, str(script), str(folder / "store"), executor, which]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finished(folder, toys):
    names = {f"{experiment_key(toy)}.nc": toy for toy in toys}
    paths = (folder / "store" / "experiments").glob("[!.]*.nc")
    return {
        (f"{names[path.name].scaling.alpha:g}", str(names[path.name].seed)): path.stat().st_mtime_ns
        for path in paths
    }


def wait_until_begun(n, process):
    deadline = time.time() + 120
    while len(begun()) < n and time.time() < deadline and process.poll() is None:
        time.sleep(0.005)


def kill_and_check(folder, toys, n_kills, executor, rng):
    """Kill a sweep again and again; after each kill, look at what it did twice or lost."""
    n_with_progress = 0
    for number in range(n_kills):
        before, n_begun = finished(folder, toys), len(begun())
        assert len(before) < len(toys), "the sweep was done before it was killed so often"
        process = start(folder, toys, executor)
        if number % 5 == 4:
            time.sleep(rng.uniform(0, 3))  # at any moment, of starting up too
        else:
            wait_until_begun(n_begun + 1, process)
            time.sleep(rng.exponential(0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.3)  # orphans of a process pool notice, and end
        after = finished(folder, toys)
        assert before.items() <= after.items(), "a finished experiment was lost or written again"
        again = {(alpha, seed) for _, alpha, seed in begun()[n_begun:]} & before.keys()
        assert not again, f"computed again: {again}"
        n_with_progress += len(after) > len(before)
    return n_with_progress


def check_end(folder, toys):
    found = sweep(toys, store=folder / "store", run=run_toys, progress=False)
    wanted = to_dataset([outcome_of(toy_history(toy, toy.seconds)) for toy in toys])
    xr.testing.assert_equal(found, wanted)
    assert not list((folder / "store").glob("set-aside/*"))


def test_kill_minus_9_of_the_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    assert kill_and_check(tmp_path, SHORT, 1, "serial", np.random.default_rng(1)) == 1
    check_end(tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "processes:2"])
def test_kill_minus_9_of_the_driver_twenty_times(tmp_path, monkeypatch, executor):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    n_with_progress = kill_and_check(tmp_path, LONG, 20, executor, np.random.default_rng(0))
    assert n_with_progress >= 5
    check_end(tmp_path, LONG)


@pytest.mark.slow
def test_workers_end_with_their_driver_and_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    process = start(tmp_path, SHORT, "processes:1")
    wait_until_begun(25, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert "run the same command to go on" in err
    worker = int(begun()[-1][0])
    deadline = time.time() + 10
    while is_alive(worker) and time.time() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
    before = finished(tmp_path, SHORT)
    assert before
    n_begun = len(begun())
    sweep(SHORT, store=tmp_path / "store", run=run_toys, progress=False)
    assert not {(alpha, seed) for _, alpha, seed in begun()[n_begun:]} & before.keys()


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
