"""The exact dynamics of the committee machine against the ways people train it today.

D=100, P=550, train and test loss logged every 100 steps on every side. Each peer's
curve is compared with ours in float64 before anything is timed. Times are medians of
interleaved rounds, compilation apart. ``make benchmark`` runs it; it writes
``benchmarks/results/committee.json``.

    python benchmarks/committee.py [--threads 1]
"""

import argparse
import json
import os
import platform
import statistics as stats_of
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
DIM, N_TRAIN, N_TEST, EPSILON, ALPHA, LOG_EVERY = 100, 550, 1000, 0.02, 1.0, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="run this row only, in this process")
    threads = parser.parse_args().threads
    if threads is not None:
        print(json.dumps(measure(threads)))
        return
    rows = {}
    for name, n_threads in {"all cores": os.cpu_count() or 1, "one thread": 1}.items():
        rows[name] = json.loads(run_alone(n_threads))
        print(f"{name} ({n_threads}):")
        for key, value in rows[name].items():
            print(f"  {key:58} {value:12.4g}")
    result = {"made": provenance(), "rows": rows}
    path = HERE / "results" / "committee.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


def run_alone(n_threads: int) -> str:
    """A process of its own: thread counts are fixed when the libraries start."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(n_threads), JAX_ENABLE_X64="1")
    if n_threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    command = [sys.executable, __file__, "--threads", str(n_threads)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr)
    return run.stdout.splitlines()[-1]


def provenance() -> dict[str, str]:
    from importlib.metadata import version

    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    packages = {name: version(name) for name in ("jax", "torch", "diffrax", "numpy")}
    return {
        "commit": commit,
        "processor": f"{processor}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    } | packages


def measure(n_threads: int) -> dict[str, float]:
    """Every figure of one row: microseconds per step, seconds, and ratios."""
    if n_threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch

    from lazyrich.theory import (
        DynamicHyperparameters,
        EmpiricalLoss,
        gradient_descent,
        gradient_flow,
        weight_moments,
    )

    torch.set_num_threads(n_threads)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_TRAIN, DIM)) / DIM**0.5
    x_test = rng.normal(size=(N_TEST, DIM)) / DIM**0.5
    beta = rng.normal(size=DIM)
    y, y_test = 0.5 * (x @ beta) ** 2, 0.5 * (x_test @ beta) ** 2
    weights = {n: rng.normal(size=(n, DIM)) for n in (500, 10_000, 100_000)}

    def nothing(stats):
        return None

    def problem(width, dtype):
        cast = [jnp.asarray(a, dtype) for a in (weights[width], x, y, x_test, y_test)]
        return weight_moments(cast[0]), EmpiricalLoss(*cast[1:3]), EmpiricalLoss(*cast[3:])

    def map_steps(width, n_steps, dtype=jnp.float32, alpha=ALPHA):
        start, train, test = problem(width, dtype)
        saves = np.arange(0, n_steps + 1, LOG_EVERY)

        def run():
            return gradient_descent(
                start,
                train,
                hyperparameters=DynamicHyperparameters(alpha, EPSILON),
                eval_steps=saves,
                query=test,
                observe=nothing,
            )

        return run

    def torch_steps(width, n_steps, dtype=torch.float32):
        tensors = [torch.tensor(a, dtype=dtype) for a in (x, y, x_test, y_test)]
        X, Y, X_test, Y_test = tensors
        start = torch.tensor(weights[width], dtype=dtype)

        def output(w, inputs):
            hidden = inputs @ w.T
            return ALPHA * (hidden + EPSILON / 2 * hidden**2).mean(1)

        def run():
            w = start.clone().requires_grad_()
            optimizer = torch.optim.SGD([w], lr=width / ALPHA**2)
            with torch.no_grad():
                f0, f0_test = output(w, X), output(w, X_test)
            log = []
            for step in range(n_steps):
                optimizer.zero_grad()
                loss = ((output(w, X) - f0 - Y) ** 2).mean()
                if step % LOG_EVERY == 0:
                    with torch.no_grad():
                        test = ((output(w, X_test) - f0_test - Y_test) ** 2).mean()
                    log.append((loss.item(), test.item()))
                loss.backward()
                optimizer.step()
            return np.array(log)

        return run

    def notebook_steps(width, n_steps, dtype=jnp.float32):
        """A Python loop over jitted calls, logging every step, with the linearized network."""
        cast = [jnp.asarray(a, dtype) for a in (weights[width], x, y, x_test, y_test)]
        w0, X, Y, X_test, Y_test = cast
        rate = width / ALPHA**2

        def output(w, inputs):
            hidden = inputs @ w.T
            return ALPHA * (hidden + EPSILON / 2 * hidden**2).mean(1)

        def centred(w, inputs):
            return output(w, inputs) - output(w0, inputs)

        def linear(w, inputs):
            return jax.jvp(lambda v: output(v, inputs), (w0,), (w - w0,))[1]

        @jax.jit
        def step(w, linearized):
            def loss(f, w):
                return jnp.mean((f(w, X) - Y) ** 2)

            return (
                w - rate * jax.grad(lambda v: loss(centred, v))(w),
                linearized - rate * jax.grad(lambda v: loss(linear, v))(linearized),
            )

        @jax.jit
        def losses(w, linearized):
            return tuple(
                jnp.mean((f(v, inputs) - labels) ** 2)
                for f, v in ((centred, w), (linear, linearized))
                for inputs, labels in ((X, Y), (X_test, Y_test))
            )

        def run():
            w = linearized = w0
            log = []
            for _ in range(n_steps):
                log.append([float(value) for value in losses(w, linearized)])
                w, linearized = step(w, linearized)
            return np.array(log)

        return run

    # Equality before any clock: 300 steps, float64.
    ours = map_steps(500, 300, jnp.float64)()
    logged = np.stack([ours.train_loss, ours.query_loss], axis=1)[:3]
    np.testing.assert_allclose(torch_steps(500, 300, torch.float64)(), logged, rtol=1e-9)
    notebook = notebook_steps(500, 300, jnp.float64)()[::LOG_EVERY, :2]
    np.testing.assert_allclose(notebook, logged, rtol=1e-9)

    def seconds(run) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - begin

    def microseconds(runs: dict, rounds: int = 5) -> dict[str, float]:
        """Median time per step of each (run, steps), in interleaved rounds."""
        first = {name: seconds(run) for name, (run, _) in runs.items()}
        times = {name: [] for name in runs}
        for _ in range(rounds):
            for name, (run, n_steps) in runs.items():
                times[name].append(seconds(run) / n_steps * 1e6)
        medians = {name: stats_of.median(values) for name, values in times.items()}
        return medians | {"first call of the map, s": first["map"]}

    step = microseconds(
        {
            "map": (map_steps(500, 1000), 1000),
            "torch": (torch_steps(500, 300), 300),
            "notebook": (notebook_steps(500, 100), 100),
            "torch wide": (torch_steps(10_000, 10), 10),
        }
    )
    widths = microseconds(
        {
            "map": (map_steps(500, 1000), 1000),
            "wide": (map_steps(10_000, 1000), 1000),
            "widest": (map_steps(100_000, 1000), 1000),
        },
        rounds=9,
    )

    # Several values of α on one data set: batched, and side by side in threads.
    start, train, test = problem(500, jnp.float32)
    alphas = jnp.asarray([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6], jnp.float32)
    saves = np.arange(0, 501, LOG_EVERY)

    def one(alpha):
        return gradient_descent(
            start,
            train,
            hyperparameters=DynamicHyperparameters(alpha, EPSILON),
            eval_steps=saves,
            query=test,
            observe=nothing,
        ).query_loss

    batched = jax.jit(jax.vmap(one))
    np.testing.assert_allclose(batched(alphas)[2], one(alphas[2]), rtol=1e-3)
    pool = ThreadPoolExecutor(n_threads)
    several = microseconds(
        {
            "map": (lambda: one(alphas[2]), 500),
            "vmap": (lambda: batched(alphas), 500 * len(alphas)),
            "threads": (lambda: list(pool.map(one, alphas)), 500 * len(alphas)),
        }
    )

    # The flow to t = 20 000 steps, against descent everywhere after step 500.
    log = np.unique(np.geomspace(1, 20_000, 200).round().astype(int))

    def flow():
        return gradient_flow(
            start,
            train,
            hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
            eval_t=log,
            query=test,
            observe=nothing,
        )

    descent = gradient_descent(
        start,
        train,
        hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
        eval_steps=log,
        query=test,
        observe=nothing,
    )
    gap = float(jnp.abs(flow().query_loss / descent.query_loss - 1)[log > 500].max())
    assert gap < 0.03, gap
    flow_seconds = stats_of.median(seconds(flow) for _ in range(5))

    return {
        "map, µs a step, N=500": step["map"],
        "map, first call with compilation, s": step["first call of the map, s"],
        "PyTorch eager, µs a step, N=500": step["torch"],
        "PyTorch eager/map, N=500": step["torch"] / step["map"],
        "PyTorch eager, µs a step, N=10 000": step["torch wide"],
        "PyTorch eager/map, N=10 000": step["torch wide"] / step["map"],
        "notebook style, µs a step, N=500": step["notebook"],
        "notebook style/map, N=500": step["notebook"] / step["map"],
        "map at N=10 000/map at N=500": widths["wide"] / widths["map"],
        "map at N=100 000/map at N=500": widths["widest"] / widths["map"],
        "8 values of α in vmap, µs a step and run/one alone": several["vmap"] / several["map"],
        "8 values of α in threads, µs a step and run/one alone": several["threads"]
        / several["map"],
        "flow to t=20 000, s": flow_seconds,
        "PyTorch eager for 20 000 steps/flow": 20_000 * step["torch"] * 1e-6 / flow_seconds,
        "flow against descent after step 500, largest gap in test loss": gap,
    }


if __name__ == "__main__":
    main()
