"""Benchmark the tangent kernel against neural-tangents and ``torch.func``.

    python benchmarks/ntk/run.py [--case NAME ...] [--peer-env DIR]

All sides run in processes of their own on inputs that this script writes. They hand in
their kernels first; a peer whose kernel differs from ours is reported as wrong and not
timed. neural-tangents needs old packages, so an environment for it is made in the given
folder when it is not there yet. Results are merged into ``results/<machine>.json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import cases
import jax
import numpy as np

HERE = Path(__file__).parent
PEER_PACKAGES = ["jax==0.4.25", "jaxlib==0.4.25", "numpy<2", "scipy<1.13"]
PEER_PACKAGES += ["neural-tangents==0.6.5", "tensorflow-cpu"]
# implementation-vmap: 1 Jacobian contraction, 2 products, 3 structured; rows vmapped or not.
PEERS = {
    "committee": ["3-0", "1-0", "3-None", "1-None", "2-None"],
    "mlp_full": ["3-0", "3-None", "2-0", "1-0"],
    "mlp_traced": ["3-0", "3-None", "2-0", "1-0"],
    # Jacobian contraction (1-0) takes longer than the time limit and 7 GB.
    "transformer": ["3-0", "2-0"],
}
BARS = {"committee": 50, "mlp_full": 1.2, "mlp_traced": 1.2, "transformer": 1.5, "torch": 100}
# Float32 sums of up to a million products, in different orders.
TOLERANCE = 1e-4
TIMEOUT = 280


class Side:
    """A process that has computed a kernel and waits to be timed."""

    def __init__(self, python, script, name, inputs, folder, variant):
        self.output = Path(folder) / f"{Path(script).stem}_{variant}.npy"
        command = [str(python), str(HERE / script), name, str(inputs), str(self.output), variant]
        self.process = subprocess.Popen(
            ["timeout", str(TIMEOUT), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kernel(self):
        """Wait for the kernel; None if the side failed."""
        for line in self.process.stdout or ():
            if line.strip() == "READY":
                return np.load(self.output).astype(float).squeeze()
        self.process.wait()
        return None

    def error(self):
        """What the side said when it failed."""
        if self.process.returncode == 124:
            return f"not done within {TIMEOUT} s"
        lines = self.process.stderr.read().strip().splitlines()
        return lines[-1][:300] if lines else f"exit status {self.process.returncode}"

    def time(self):
        """Let the side time itself."""
        answer, _ = self.process.communicate("TIME\n")
        return json.loads(answer.splitlines()[-1]) if answer.strip() else None

    def dismiss(self):
        """Let the side go without timing."""
        self.process.communicate("STOP\n")


def run_case(name, peer_python):
    params, x = cases.CASES[name][1]()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        leaves = jax.tree.leaves(params)
        np.savez(inputs, x=x, **{f"leaf{k}": leaf for k, leaf in enumerate(leaves)})

        def start(python, script, variant):
            return Side(python, script, name, inputs, folder, variant)

        ours = start(sys.executable, "side_lazyrich.py", "jit")
        reference = ours.kernel()
        if reference is None:
            raise SystemExit(f"{name}: our own side failed: {ours.error()}")
        rows = {"lazyrich": ours.time() | {"verdict": "equal"}}
        eager = start(sys.executable, "side_lazyrich.py", "eager")
        rows["lazyrich, not jitted by the caller"] = judge(eager, reference)
        for variant in PEERS[name]:
            side = start(peer_python, "side_neural_tangents.py", variant)
            rows[f"neural-tangents {variant}"] = judge(side, reference)
            show(name, rows)
        if name.startswith("mlp"):
            rows["torch.func"] = judge(start(sys.executable, "side_torch.py", "jacrev"), reference)
        show(name, rows)
    return summary(name, rows)


def judge(side, reference):
    """Compare first; time only what is equal."""
    kernel = side.kernel()
    if kernel is None:
        return {"verdict": "failed", "error": side.error()}
    error = float(np.abs(kernel - reference).max() / np.abs(reference).max())
    if error > TOLERANCE:
        side.dismiss()
        return {"verdict": "wrong", "relative_error": error}
    timed = side.time()
    if timed is None:
        return {"verdict": "failed", "error": "timed out while timing", "relative_error": error}
    return timed | {"verdict": "equal", "relative_error": error}


def summary(name, rows):
    ours = float(np.median(rows["lazyrich"]["seconds"]))
    result = {"sides": rows, "ours_seconds": ours}
    for peer, key in (("neural-tangents", name), ("torch.func", "torch")):
        medians = {
            side: float(np.median(row["seconds"]))
            for side, row in rows.items()
            if side.startswith(peer) and row["verdict"] == "equal"
        }
        if medians:
            best = min(medians, key=medians.__getitem__)
            ratio = medians[best] / ours
            result[peer] = {"best": best, "seconds": medians[best], "ratio": ratio}
            result[peer] |= {"wanted": BARS[key], "is_met": ratio >= BARS[key]}
            print(f"{name}: {ratio:.1f} times faster than {best} (wanted {BARS[key]})")
    return result


def show(name, rows):
    print(name)
    for side, row in rows.items():
        if row["verdict"] != "equal":
            print(f"  {side:36s} {row['verdict']} {row.get('error', row.get('relative_error'))}")
            continue
        seconds = row["seconds"]
        print(
            f"  {side:36s} median {1e3 * float(np.median(seconds)):9.2f} ms  best "
            f"{1e3 * seconds[0]:9.2f} ms  compile {row['compile_seconds']:6.2f} s  peak "
            f"{row['peak_bytes'] / 2**20:7.0f} MiB"
        )


def run_growth():
    """Exponents of time over P, and memory beyond the inputs and the kernel itself."""
    rows = []
    for block_size in (0, 250):
        for n_rows in (500, 1000, 2000, 4000):
            command = [sys.executable, str(HERE / "growth.py"), str(n_rows), str(block_size)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout)
            extra = row["peak_bytes"] - row["input_and_kernel_bytes"]
            rows.append(row | {"peak_beyond_bytes": extra})
            print(
                f"P = {n_rows}, blocks of {block_size or 'our choice'}: "
                f"{1e3 * float(np.median(row['seconds'])):.1f} ms, peak "
                f"{row['peak_bytes'] / 2**20:.0f} MiB, beyond input and kernel "
                f"{extra / 2**20:.0f} MiB"
            )
    exponents = {}
    for block_size in (None, 250):
        chosen = [row for row in rows if row["block_size"] == block_size]
        logs = np.log([(row["n_rows"], np.median(row["seconds"])) for row in chosen])
        exponents[str(block_size)] = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    print(f"time exponents {exponents} (wanted at most 2.1)")
    return {"rows": rows, "time_exponents": exponents, "wanted": 2.1}


def peer_environment(folder):
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["python3.11", "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
    return python


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    names = ("lazyrich", "jax", "jaxlib", "numpy", "torch")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "peer": PEER_PACKAGES,
        "gemm_gigaflops": gemm_gigaflops(),
        "commit": commit.stdout.strip(),
    }


def gemm_gigaflops(n=2048):
    """Single-precision matrix products of this machine, for rooflines."""
    import time

    a = jax.numpy.ones((n, n), jax.numpy.float32)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = [*cases.CASES, "growth"]
    parser.add_argument("--case", nargs="*", choices=everything, default=everything)
    default = Path(tempfile.gettempdir()) / "lazyrich-neural-tangents"
    parser.add_argument("--peer-env", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cpu.json")
    given = parser.parse_args()
    results = json.loads(given.out.read_text()) if given.out.exists() else {"cases": {}}
    results["machine"] = machine()
    for name in given.case:
        if name == "growth":
            results["cases"][name] = run_growth()
        else:
            results["cases"][name] = run_case(name, peer_environment(given.peer_env))
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
