"""The traced tangent kernel of larger networks against every peer, in turn, as JSON.

    python benchmarks/ntk/peers.py [--case NAME ...] [--cores N ...] [--seconds S] [--peer-env DIR]

The peers are plain Jacobians of all parameters (``jacrev`` under ``vmap``, one ``jit``) and the
three implementations of neural-tangents, which run the same functions on the same parameters in
an environment of their own (`run.py`). Every side is a process. Kernels are compared first; a
side whose kernel differs is reported as wrong and not timed, one that needs more than 8 GiB or
more than the time limit before its first kernel is there is reported as failed. The others take
turns, one call each, so that other work on the machine slows all. On one core ratios are of
processor time, else of wall time. Results are merged into ``results/peers.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import networks
import numpy as np
from run import machine, peer_environment

HERE = Path(__file__).parent
WANTED = {
    "lenet_64": 1.5,
    "resnet": 1.8,
    "resnet_batch_normalised": 1.8,
    "decoder_written_out": 1.5,
    "decoder_scanned": 1.5,
    "decoder_rematerialised": 1.5,
    "vision_transformer": 1.5,
}
SIDES = (
    "lazyrich",
    "jacobians",
    "neural-tangents-1",
    "neural-tangents-2",
    "neural-tangents-3",
)
# Float32 sums of up to a million products, in different orders.
TOLERANCE = 1e-4
MOST_BYTES = 8 * 2**30
# A side this many times slower than the fastest is timed in the first round alone.
SLOW, LEAST_ROUNDS, MOST_ROUNDS = 5.0, 3, 40


class Side:
    """A process that computes a kernel and then one more whenever it is asked to."""

    def __init__(self, python, name, side, inputs, folder, cores):
        self.output = Path(folder) / f"{side}.npy"
        self.failure, self.peak = None, 0
        self.seconds, self.processor_seconds = [], []
        self.process = subprocess.Popen(
            [str(python), str(HERE / "peer_side.py"), name, side, str(inputs), str(self.output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(Path(folder) / f"{side}.err").open("w+"),
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # before JAX counts the cores
        )

    def kernel(self, limit):
        """Wait for the kernel; None if it does not come."""
        begin = time.perf_counter()
        watch = threading.Thread(target=self._watch, args=(begin + limit, limit))
        watch.start()
        ready = any(line.strip() == "READY" for line in self.process.stdout or ())
        self.is_done = True
        watch.join()
        if ready and self.failure is None:
            self.first_seconds = time.perf_counter() - begin
            return np.load(self.output).astype(float).squeeze()
        self.process.wait()
        lines = Path(str(self.output)[:-4] + ".err").read_text().strip().splitlines()
        said = [line for line in lines if "Error" in line] or lines or ["no message"]
        self.failure = self.failure or said[-1][:300]
        return None

    is_done = False

    def _watch(self, end, limit):
        while not self.is_done and self.process.poll() is None:
            self.peak = max(self.peak, resident_bytes(self.process.pid))
            if self.peak > MOST_BYTES:
                self.failure = f"more than {MOST_BYTES // 2**30} GiB"
            elif time.perf_counter() > end:
                self.failure = f"no kernel within {limit:.0f} s"
            if self.failure:
                self.process.kill()
                return
            time.sleep(0.1)

    def call(self):
        """One timed call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, processor_seconds = json.loads(self.process.stdout.readline())
        self.seconds.append(seconds)
        self.processor_seconds.append(processor_seconds)
        self.peak = max(self.peak, resident_bytes(self.process.pid))

    def close(self):
        """Let the process end."""
        if self.process.poll() is None:
            self.process.communicate()


def resident_bytes(pid):
    """The most memory that a process has had."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def measure(name, n_cores, chosen, *, seconds, limit, peer_python):
    """Some sides of one case, ours first, on some cores."""
    cores = set(sorted(os.sched_getaffinity(0))[-n_cores:])
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        params, x = networks.inputs(name, jnp.float32)
        np.savez(inputs, **params, **{"rows of the input": x})
        sides, rows, reference = {}, {}, None
        for side in chosen:
            python = peer_python if side.startswith("neural") else sys.executable
            started = Side(python, name, side, inputs, folder, cores)
            kernel = started.kernel(limit)
            if kernel is None and side == "lazyrich":
                raise SystemExit(f"{name}: our own side failed: {started.failure}")
            reference = kernel if reference is None else reference
            rows[side] = judged(started, kernel, reference)
            print(f"  {name}, {side}: {rows[side]}", flush=True)
            if rows[side]["verdict"] == "equal":
                sides[side] = started
            else:
                started.close()
        take_turns(sides.values(), seconds)
        for side, started in sides.items():
            started.close()
            rows[side] |= {
                "seconds": float(np.median(started.seconds)),
                "processor_seconds": float(np.median(started.processor_seconds)),
                "calls": len(started.seconds),
                "first_seconds": started.first_seconds,
                "peak_bytes": started.peak,
            }
    return summary(name, n_cores, rows)


def judged(side, kernel, reference):
    if kernel is None:
        return {"verdict": "failed", "error": side.failure}
    error = float(np.abs(kernel - reference).max() / np.abs(reference).max())
    verdict = "equal" if error <= TOLERANCE else "wrong"
    return {"verdict": verdict, "relative_error": error}


def take_turns(sides, seconds):
    begin, rounds, chosen = time.perf_counter(), 0, list(sides)
    while rounds < LEAST_ROUNDS or (time.perf_counter() - begin < seconds and rounds < MOST_ROUNDS):
        for side in chosen:
            side.call()
        fastest = min(side.processor_seconds[0] for side in chosen)
        chosen = [side for side in chosen if side.processor_seconds[0] <= SLOW * fastest]
        rounds += 1


def summary(name, n_cores, rows):
    """The fastest peer of each kind, and of all."""
    key = "processor_seconds" if n_cores == 1 else "seconds"
    equal = {side: row[key] for side, row in rows.items() if row["verdict"] == "equal"}
    ours = equal.pop("lazyrich")
    best = min(equal, key=equal.__getitem__)
    ratio = equal[best] / ours
    print(f"{name}, {n_cores} cores: {ours:.3f} s, {ratio:.2f} times {best}", flush=True)
    found = {"sides": rows, "ours_seconds": ours, "best": best, "seconds": equal[best]}
    return found | {"ratio": ratio, "wanted": WANTED[name], "is_met": ratio >= WANTED[name]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=WANTED, default=list(WANTED))
    parser.add_argument("--side", nargs="*", choices=SIDES[1:], default=SIDES[1:])
    parser.add_argument("--cores", nargs="*", type=int, default=[1, os.cpu_count()])
    parser.add_argument("--seconds", type=float, default=40.0, help="of rounds for each case")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a first kernel")
    default = Path(tempfile.gettempdir()) / "lazyrich-neural-tangents"
    parser.add_argument("--peer-env", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peers.json")
    given = parser.parse_args()
    peer_python = peer_environment(given.peer_env)
    jax.config.update("jax_platforms", "cpu")
    for name in given.case:
        for n_cores in given.cores:
            found = measure(
                name,
                n_cores,
                [SIDES[0], *(side for side in SIDES[1:] if side in given.side)],
                seconds=given.seconds,
                limit=given.limit,
                peer_python=peer_python,
            )
            results = json.loads(given.out.read_text()) if given.out.exists() else {"cases": {}}
            results["cases"].setdefault(name, {})[str(n_cores)] = found
            results["machine"] = machine()
            given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
