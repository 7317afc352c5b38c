"""Oracle: a sweep in a folder, for one in an S3 bucket that a local server plays."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import xarray as xr

from lazyrich._base import InputError
from lazyrich.sweeps import Store, experiment_key, grid, sweep
from sweeps.toys import Toy, begun, run_toys

# Heavy, and not among the promised extras: run where both happen to be installed.
pytest.importorskip("s3fs")
pytest.importorskip("moto")

TOYS = grid(Toy(), {"alpha": [0.5, 1.0], "seed": range(4)})


@pytest.fixture
def bucket(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    import fsspec.config

    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": address})
    for _ in range(200):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=1).close()
            break
        time.sleep(0.1)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem(endpoint_url=address).mkdir("runs")
    yield "s3://runs/sweep"
    server.terminate()
    server.wait()


@pytest.mark.filterwarnings("ignore")  # botocore's own
def test_a_bucket_is_a_store(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    sweep(TOYS[:3], store=bucket, run=run_toys, progress=False)
    found = sweep(TOYS, store=bucket, run=run_toys, progress=False)
    assert len(begun()) == len(TOYS)
    wanted = sweep(TOYS, store=tmp_path / "folder", run=run_toys, progress=False)
    xr.testing.assert_equal(found, wanted)

    place = Store(bucket).place
    name = f"experiments/{experiment_key(TOYS[0])}.nc"
    place.write(name, place.read(name)[:500])
    n_begun = len(begun())
    xr.testing.assert_equal(sweep(TOYS, store=bucket, run=run_toys, progress=False), wanted)
    assert len(begun()) == n_begun + 1
    assert len(place.files("set-aside")) == 1

    place.write("store.json", json.dumps({"format": 99}).encode())
    with pytest.raises(InputError, match="format 99"):
        sweep(TOYS, store=bucket, run=run_toys, progress=False)


@pytest.mark.filterwarnings("ignore")
def test_a_bucket_that_is_not_there_gets_a_sentence(bucket):
    with pytest.raises(InputError, match="The store s3://nowhere/sweep cannot be"):
        sweep(TOYS, store="s3://nowhere/sweep", run=run_toys, progress=False)
