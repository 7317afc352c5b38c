"""Oracle: the shell's exit codes 128 + signal; one sentence; the operating system's own list.

Commands are stopped at many moments, in the ways in which libraries lose a signal.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lazyrich.training import preset, train
from lazyrich.training._checkpoint import read_checkpoint

SRC = str(Path(__file__).parents[2] / "src")
AROUND = """
import os, sys, time
from lazyrich.cli._interrupt import Interrupts, how_to_go_on
def command():
    how_to_go_on(lambda: "stopped as expected.")
    print("ready", flush=True)
{}
    return 0
sys.exit(Interrupts(is_process=True).run(command))
"""
DEEDS = {
    "waits": "time.sleep(60)",
    "swallows": """
while True:
    try: time.sleep(60)
    except: pass
""",
    "swallows in a destructor": """
class Last:
    def __del__(self): time.sleep(60)
Last()
time.sleep(60)
""",
    "is heard by the other thread first": """
import hashlib
at_once = os.dup
def slowly(number):
    time.sleep(1)
    return at_once(number)
os.dup = slowly
class Last:
    def __del__(self):
        for _ in range(60): hashlib.pbkdf2_hmac("sha256", b"", b"", 10**6)
Last()
time.sleep(60)
""",
    "makes another error of it": """
try: time.sleep(60)
except BaseException: raise ImportError("cannot import x") from None
""",
    "forgets it and goes on": """
for _ in range(600):
    try: time.sleep(0.1)
    except BaseException as error: print("caught", error, file=sys.stderr)
""",
    "prints a traceback": """
import traceback
try: time.sleep(60)
except BaseException:
    traceback.print_exc()
    os.write(2, b"Traceback")
    raise
""",
    "never comes back to Python": """
import ctypes
lock = ctypes.create_string_buffer(256)
for _ in range(2): ctypes.CDLL(None).pthread_mutex_lock(lock)
""",
    "ends well all the same": """
try: time.sleep(60)
except BaseException: pass
""",
    "has a thread that goes on": """
import threading
threading.Thread(target=time.sleep, args=(60,)).start()
time.sleep(60)
""",
    "imports for ever": """
while True:
    import importlib, json, decimal, fractions
    for one in (json, decimal, fractions): importlib.reload(one)
""",
}


def start(*command, **options):
    environment = dict(os.environ, PYTHONPATH=SRC, JAX_ENABLE_X64="0")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **(pipes | options))


def finish(process, seconds=60):
    try:
        _, said = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, said


def assert_one_sentence(said, code, wanted):
    assert code == wanted, said
    lines = [line for line in said.splitlines() if line.startswith("lazyrich: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said


@pytest.mark.parametrize("deed", DEEDS)
def test_a_command_ends_with_one_sentence_whatever_happens_to_the_signal(deed):
    body = "\n".join(f"    {line}" for line in DEEDS[deed].splitlines())
    process = start(sys.executable, "-c", AROUND.format(body))
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, said = finish(process, 20)
    assert_one_sentence(said, code, 130)
    assert said == "lazyrich: stopped as expected.\n"


@pytest.mark.parametrize(
    "number, n_presses", [(signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGINT, 3)]
)
def test_other_signals_and_quick_presses(number, n_presses):
    # As under a terminal: what runs the tests may ignore the signal, and its children then too.
    code = f"import signal; signal.signal({int(number)}, signal.default_int_handler)\n"
    process = start(sys.executable, "-c", code + AROUND.format("    " + DEEDS["waits"]))
    process.stdout.readline()
    for _ in range(n_presses):
        process.send_signal(number)
        time.sleep(0.02)
    code, said = finish(process, 20)
    assert_one_sentence(said, code, 128 + number)


@pytest.mark.slow  # it counts seconds: a machine that is busy with other tests is too slow
def test_a_later_press_ends_what_takes_its_time():
    slow = "    try: time.sleep(60)\n    except BaseException: time.sleep(60)"
    process = start(sys.executable, "-c", AROUND.format(slow))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(1.6)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, said = finish(process, 10)
    assert_one_sentence(said, code, 130)


def test_a_process_that_is_told_to_ignore_a_signal_ignores_it():
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = start(sys.executable, "-c", code + AROUND.format("    time.sleep(0.3)"))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert finish(process, 20) == (0, "")


def press(arguments, moment, number=signal.SIGINT):
    code = "from lazyrich.cli import main; print(flush=True); main()"
    process = start(sys.executable, "-c", code, *arguments)
    process.stdout.readline()  # before that the press would be Python's own
    time.sleep(moment)
    os.killpg(process.pid, number)
    return (*finish(process), process.pid)


@pytest.mark.parametrize("moment", [0.2, 0.6, 1.2])
def test_a_press_while_libraries_load(moment, tmp_path):
    code, said, _ = press(["train", "polynomial", "--out", str(tmp_path / "run")], moment)
    assert_one_sentence(said, code, 130)
    assert "kept" not in said or (tmp_path / "run" / "checkpoint.npz").exists()


def others_of(group):
    """Processes of a session, as the operating system lists them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(group) and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


TRAIN = ["train", "polynomial", "--set=n_steps=10000000", "--out"]
SWEEP = ["sweep", "polynomial", "--over=seed=0:40", "--set=n_steps=1000000", "--store"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no list of processes here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words", [TRAIN, SWEEP, [*SWEEP[:-1], "--executor=processes:2", "--store"]]
)
def test_a_press_at_any_moment(words, number, tmp_path):
    for k, moment in enumerate(np.random.default_rng(0).uniform(0.2, 15, size=12)):
        out = tmp_path / str(k)
        code, said, group = press([*words, str(out)], moment, number)
        assert_one_sentence(said, code, 128 + number)
        assert "state is kept" not in said or (out / "checkpoint.npz").exists()
        time.sleep(1)
        assert others_of(group) == []


@pytest.mark.slow  # as above
def test_a_run_from_python_keeps_its_state_however_often_it_is_stopped(tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    small = {"task.dim": 4, "task.n_train": 8, "task.n_test": 8, "width": 4, "metrics": []}
    experiment = preset("polynomial").changed(small | {"n_steps": 10**7, "learning_rate": 1e-3})

    def press(report):
        if report.n_done > 10:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(experiment, progress=press, checkpoint=checkpoint)
    assert read_checkpoint(checkpoint, experiment).step > 10
