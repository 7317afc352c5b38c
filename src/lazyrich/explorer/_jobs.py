"""Runs that the page has asked for, each in a process of its own that ends with the server."""

import json
import subprocess
import sys
import threading
from typing import Final

from lazyrich import training
from lazyrich._base import InputError, read_changes
from lazyrich.training import PRESETS, Simulation, require_memory

MOST_RUNNING: Final = 2
MOST_KEPT: Final = 8
MOST_RECORDS: Final = 2000
MOST_STEPS: Final = 1_000_000
MOST_BYTES: Final = 2e9
MOST_SECONDS: Final = 600.0
_MOST_LINE = 2**16


def experiment_of(preset: object, changes: object) -> Simulation:
    """The experiment that a page asks for, within what a page may ask for.

    Args:
        preset: name of a preset.
        changes: text such as "alpha=4 n_steps=1000".

    Raises:
        InputError: if there is no such preset, a change cannot be made, or the run is too
            large for a page.
    """
    if not isinstance(preset, str) or not isinstance(changes, str):
        raise InputError('A run is asked for as {"preset": "committee", "changes": "alpha=4"}.')
    chosen = training.preset(preset).changed(read_changes(changes.split(), flag="A change"))
    if _names_a_folder(chosen.model_dump(mode="json")):
        raise InputError("folder cannot be set from the page; train in a terminal instead.")
    n_steps = int(chosen.schedule[-1])
    if n_steps > MOST_STEPS or len(chosen.schedule) > MOST_RECORDS:
        raise InputError(
            f"The run has {n_steps} steps and {len(chosen.schedule)} records; a page trains up "
            f"to {MOST_STEPS} and {MOST_RECORDS}: use lazyrich train."
        )
    if sum(chosen.memory_needs().values()) > MOST_BYTES:
        raise InputError("The run takes more than 2 GB; use lazyrich train.")
    require_memory([chosen])
    return chosen


def _names_a_folder(settings: object) -> bool:
    """Whether some setting says where to read; the only ones that do are called folder."""
    if isinstance(settings, dict):
        return settings.get("folder") is not None or any(map(_names_a_folder, settings.values()))
    return isinstance(settings, list) and any(map(_names_a_folder, settings))


class Job:
    """A run in a process of its own.

    Attributes:
        records: metrics by name and the step, one dict for each evaluation so far.
        state: "running", "done", "stopped" or "failed".
        error: why it failed, else empty.
    """

    def __init__(self, experiment: Simulation) -> None:
        self.records: list[dict[str, float | None]] = []
        self.state = "running"
        self.error = ""
        # -P: nothing is imported from the folder that the process is started in, and "/" is
        # always there. A temporary folder would stay behind where the server is killed.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lazyrich.explorer._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is the server's; the process ends with its input
        )
        assert self._process.stdin is not None
        self._process.stdin.write(experiment.model_dump_json().encode() + b"\n")
        self._process.stdin.flush()
        self._timer = threading.Timer(MOST_SECONDS, self._time_out)
        self._timer.daemon = True
        self._timer.start()
        threading.Thread(target=self._read, daemon=True).start()

    def stop(self) -> None:
        """End the process; what has come stays."""
        if self.state == "running":
            self.state = "stopped"
        self._process.kill()
        self._timer.cancel()

    def since(self, n: int) -> dict[str, object]:
        """The state, and the records from the n-th on."""
        return {"state": self.state, "error": self.error, "records": self.records[n:]}

    def _time_out(self) -> None:
        if self.state == "running":
            self.error = f"The run took longer than {MOST_SECONDS:g} seconds; use lazyrich train."
            self.state = "failed"
        self._process.kill()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        while line := output.readline(_MOST_LINE):
            found = json.loads(line)
            if "error" in found:
                self._end("failed", found["error"])
            elif "done" in found:
                self._end("done")
            elif len(self.records) < MOST_RECORDS:
                self.records.append(found)
        self._end("failed", "The run ended before it was done; try it with lazyrich train.")
        self._process.wait()
        self._timer.cancel()
        output.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _end(self, state: str, error: str = "") -> None:
        if self.state == "running":
            self.error, self.state = error, state


class Jobs:
    """The runs of one server."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._n_started = 0
        self._lock = threading.Lock()

    def start(self, preset: object, changes: object) -> int:
        """Start a run.

        Returns:
            Its number.

        Raises:
            InputError: if it cannot be, or enough are running already.
        """
        experiment = experiment_of(preset, changes)
        with self._lock:
            if sum(job.state == "running" for job in self._jobs.values()) >= MOST_RUNNING:
                raise InputError(f"{MOST_RUNNING} runs are in progress; stop one of them first.")
            self._n_started += 1
            self._jobs[self._n_started] = Job(experiment)
            over = [number for number, job in self._jobs.items() if job.state != "running"]
            for number in over[: max(0, len(self._jobs) - MOST_KEPT)]:
                del self._jobs[number]
            return self._n_started

    def job(self, number: int) -> Job | None:
        """A run; None if there is none of this number, or it is long over."""
        return self._jobs.get(number)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            for job in self._jobs.values():
                job.stop()


PRESETS: Final = tuple(PRESETS)
"""Names of the experiments that a page can start from."""
