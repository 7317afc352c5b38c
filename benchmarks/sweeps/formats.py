"""Which file format for a store: 10⁴ experiments written, listed, and opened as one Dataset.

    python benchmarks/sweeps/formats.py [N] [--only NAME]

The two contenders that xarray writes take half a minute for 10³ experiments and are
measured there unless N is given; their times are proportional to the number.

Every contender writes the same arrays and reads them back; what is read is compared with
what was written before a time is printed. Results go to results/formats.json.
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from lazyrich._base import Config, Status
from lazyrich.sweeps import Store, to_dataset
from lazyrich.sweeps.store._result import outcome_of
from lazyrich.training import History, Record

STEPS = np.unique(np.round(np.geomspace(1, 10_000, 60)).astype(int))


class Small(Config):
    """Settings of an experiment that takes no time."""

    alpha: float = 1.0
    seed: int = 0
    width: int = 100
    n_train: int = 450


def history(i):
    curve = np.exp(-STEPS / 1000) * (1 + i)
    records = {
        name: Record(curve + k) for k, name in enumerate(("train_loss", "test_loss", "norm"))
    }
    solved = np.stack([curve, curve / 2, curve / 3], 1)
    records["solved"] = Record(solved, "dimensionless", ("threshold",), ((0.1, 0.2, 0.3),))
    return History(Small(alpha=float(i // 10), seed=i % 10), STEPS, records, Status.ok, None, 0.01)


def as_dataset(one):
    data = {name: (("step", *record.axes), record.values) for name, record in one.records.items()}
    return xr.Dataset(
        data,
        coords={"step": one.steps, "threshold": [0.1, 0.2, 0.3]},
        attrs={"config": one.experiment.model_dump_json(), "status": "ok", "wall_seconds": 0.01},
    )


def ours(folder, n):
    store = Store(folder)
    store.require_writable()
    for i in range(n):
        store.save(outcome_of(history(i)))
    store.pack()
    yield "write"
    store = Store(folder)
    store.scan()
    yield "list"
    found = to_dataset(list(store.outcomes(store.kept).values()))
    yield "open"
    curves = found.train_loss.stack(run=("alpha", "seed")).transpose("run", "step")
    yield curves.sortby(["alpha", "seed"]).values


def ours_without_packs(folder, n):
    store = Store(folder)
    store.require_writable()
    for i in range(n):
        store.save(outcome_of(history(i)))
    yield "write"
    shutil.rmtree(Path(folder) / "packs", ignore_errors=True)
    store = Store(folder)
    store.scan()
    yield "list"
    found = to_dataset(list(store.outcomes(store.kept).values()))
    yield "open"
    yield found.train_loss.stack(run=("alpha", "seed")).transpose("run", "step").values


def netcdf_by_xarray(folder, n):
    for i in range(n):
        as_dataset(history(i)).to_netcdf(f"{folder}/{i:06d}.nc", engine="h5netcdf")
    yield "write"
    names = sorted(os.listdir(folder))
    yield "list"
    parts = [xr.load_dataset(f"{folder}/{name}", engine="h5netcdf") for name in names]
    found = xr.concat(parts, "run")
    yield "open"
    yield found.train_loss.values


def zarr_by_xarray(folder, n):
    for i in range(n):
        as_dataset(history(i)).to_zarr(f"{folder}/{i:06d}.zarr", consolidated=False)
    yield "write"
    names = sorted(os.listdir(folder))
    yield "list"
    parts = [xr.open_zarr(f"{folder}/{name}", consolidated=False).load() for name in names]
    found = xr.concat(parts, "run")
    yield "open"
    yield found.train_loss.values


CONTENDERS = {
    one.__name__: one for one in (ours, ours_without_packs, netcdf_by_xarray, zarr_by_xarray)
}


def measure(contender, n):
    folder = tempfile.mkdtemp()
    os.sync()
    row, last = {}, time.perf_counter()
    for step in CONTENDERS[contender](folder, n):
        if isinstance(step, str):
            row[f"{step}_seconds"] = round(time.perf_counter() - last, 3)
            last = time.perf_counter()
        else:
            np.testing.assert_array_equal(step, np.exp(-STEPS / 1000) * (1 + np.arange(n))[:, None])
    row["n_files"] = sum(len(files) for _, _, files in os.walk(folder))
    row["megabytes"] = round(
        sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6, 1
    )
    row["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    shutil.rmtree(folder)
    return row


def main():
    given = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else None
    if "--only" in sys.argv:
        print(json.dumps(measure(sys.argv[sys.argv.index("--only") + 1], given or 10_000)))
        return
    found = {}
    for name in CONTENDERS:  # one process each: peak memory is per process
        n = given or (1000 if name.endswith("xarray") else 10_000)
        command = [sys.executable, __file__, str(n), "--only", name]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = {"n_experiments": n, **json.loads(ran.stdout.splitlines()[-1])}
        print(name, found[name], flush=True)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    text = json.dumps({"machine": machine, "contenders": found}, indent=1)
    (results / "formats.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
