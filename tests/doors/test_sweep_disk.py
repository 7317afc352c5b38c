"""Oracle: a real disk of 200 KiB that runs full, then grows, then is read-only."""

import subprocess

import pytest
import xarray as xr

from lazyrich._base import InputError
from lazyrich.sweeps import grid, sweep
from sweeps.toys import Toy, run_toys

TOYS = grid(Toy(), {"alpha": [0.5, 1.0, 2.0], "seed": range(10)})


@pytest.fixture
def disk(tmp_path):
    """A small disk that can be mounted again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "lazyrich", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=200k"):
        pytest.skip("no right to mount a disk here; tests/sweeps/test_store.py fakes a full one")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_runs_full_and_a_disk_that_is_read_only(disk, tmp_path):
    folder, mount = disk
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)") as full:
        sweep(TOYS, store=folder, run=run_toys, progress=False)
    assert "every finished experiment is kept" in str(full.value)
    kept = {path: path.stat().st_mtime_ns for path in (folder / "experiments").glob("[!.]*")}
    assert 3 < len(kept) < len(TOYS)
    assert not list((folder / "experiments").glob(".*"))

    assert mount("remount,size=2m")
    found = sweep(TOYS, store=folder, run=run_toys, progress=False)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not (folder / "set-aside").exists()
    wanted = sweep(TOYS, store=tmp_path / "roomy", run=run_toys, progress=False)
    xr.testing.assert_equal(*(one.drop_vars("wall_seconds") for one in (found, wanted)))

    assert mount("remount,ro")
    again = sweep(TOYS, store=folder, run=run_toys, progress=False)
    xr.testing.assert_identical(again, found)
    with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\)"):
        sweep([*TOYS, Toy(seed=99)], store=folder, run=run_toys, progress=False)
