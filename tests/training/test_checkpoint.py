"""Oracle: the arrays that were kept; files damaged and planted on purpose; NumPy's own reader."""

import errno
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from lazyrich._base import InputError, seal
from lazyrich.models import CommitteeNet
from lazyrich.tasks import PolynomialTask
from lazyrich.training import Experiment, GradientDescent, train
from lazyrich.training._checkpoint import (
    DamagedCheckpoint,
    Saved,
    read_checkpoint,
    write_checkpoint,
)

ONE = Experiment(
    task=PolynomialTask(dim=4, n_train=10, n_test=10),
    net=CommitteeNet(width=6, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=20,
)
SAVED = Saved(
    7,
    [np.arange(24, dtype=np.float32).reshape(4, 6), np.float64(2.5), np.asfortranarray(np.eye(3))],
    np.array([0, 3, 7]),
    {"train_loss": np.array([1.0, np.nan, np.inf]), "solved": np.ones((3, 0))},
    1.25,
)


def assert_kept(saved):
    assert (saved.step, saved.wall_seconds) == (7, 1.25)
    for one, other in zip(saved.leaves, SAVED.leaves, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    np.testing.assert_array_equal(saved.steps, SAVED.steps, strict=True)
    assert saved.records.keys() == SAVED.records.keys()
    for name, values in saved.records.items():
        np.testing.assert_array_equal(values, SAVED.records[name], strict=True)


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / "new" / "one.npz", ONE, SAVED)
    return tmp_path / "new" / "one.npz"


def test_what_is_kept_comes_back_and_numpy_reads_it_too(path):
    assert_kept(read_checkpoint(path, ONE))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["leaf 0"], SAVED.leaves[0])
    assert os.listdir(path.parent) == ["one.npz"]


def damages(content, rng):
    """Flipped bits, cut ends, bytes put in, taken out and set to another value."""
    for k in range(600):
        place, kind = int(rng.integers(len(content))), k % 5
        broken = bytearray(content)
        if kind == 0:
            broken[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del broken[place:]
        elif kind == 2:
            broken[place:place] = rng.bytes(int(rng.integers(1, 50)))
        elif kind == 3:
            del broken[place : place + int(rng.integers(1, 50))]
        else:
            broken[place : place + 4] = b"\xff" * 4
        if bytes(broken) != content:
            yield bytes(broken)


def test_every_damage_is_found(path):
    content = path.read_bytes()
    found = {InputError: 0, DamagedCheckpoint: 0}
    for broken in damages(content, np.random.default_rng(0)):
        path.write_bytes(broken)
        with pytest.raises((InputError, DamagedCheckpoint)) as caught:
            read_checkpoint(path, ONE)
        found[caught.type] += 1
        assert path.read_bytes() == broken
    assert found[DamagedCheckpoint] > 300


def huge_array():
    data = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(data, header)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["huge shape", "bomb", "objects", "no header"])
def test_members_that_lie_take_no_memory(path, kind):
    start = io.BytesIO()
    np.save(start, np.array('{"format": 2, "numerics": {}}'))
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object))
    other = {
        "huge shape": huge_array(),
        "bomb": bytes(2**26),
        "objects": objects.getvalue(),
        "no header": b"steps",
    }[kind]
    members = {"header": start.getvalue(), "steps": other}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            stored = zipfile.ZIP_STORED if name == "header" else zipfile.ZIP_DEFLATED
            archive.writestr(f"{name}.npy", data, compress_type=stored)
    del other, members
    path.write_bytes(seal(content.getvalue(), "checkpoint"))
    tracemalloc.start()
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(path, ONE)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["notes", "empty", "npz", "zip", "link", "folder", "pipe", "zero"])
def test_what_is_no_checkpoint_is_refused_before_computing_and_left(tmp_path, kind):
    path, other = tmp_path / "one.npz", tmp_path / "other"
    if kind in ("notes", "empty"):
        path.write_text("dear diary" if kind == "notes" else "")
    elif kind == "npz":
        np.savez(path, data=np.arange(3))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.npy", "none")
    elif kind == "link":
        other.write_text("far away")
        path.symlink_to(other)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    before = path.read_bytes() if path.is_file() else None

    def computed(progress):
        raise AssertionError("it was computed")

    with pytest.raises(InputError) as caught:
        train(ONE, checkpoint=path, progress=computed)
    assert "\n" not in str(caught.value)
    assert before is None or path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted(["one.npz"] + ["other"] * (kind == "link"))


def test_a_link_to_a_checkpoint_is_not_written_through(path, tmp_path):
    link = tmp_path / "link.npz"
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="a link is there"):
        write_checkpoint(link, ONE, SAVED._replace(step=8))
    assert path.read_bytes() == before


def test_planted_links_of_names_that_could_be_guessed_are_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (f".one.npz.{os.getpid()}", ".one.npz.part", "one.npz.part", "one.npz.tmp"):
        (path.parent / name).symlink_to(victim)
    write_checkpoint(path, ONE, SAVED._replace(step=8))
    assert read_checkpoint(path, ONE).step == 8
    assert victim.read_text() == "precious"
    assert len(os.listdir(path.parent)) == 5


@pytest.mark.parametrize("name", ["file/one.npz", "x" * 300, "nul\0byte", ""])
def test_a_place_that_cannot_be_written_is_refused_before_computing(tmp_path, name):
    (tmp_path / "file").write_text("")

    def computed(progress):
        raise AssertionError("it was computed")

    with pytest.raises(InputError) as caught:
        train(ONE, checkpoint=f"{tmp_path}/{name}", progress=computed)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_earlier_checkpoint(path, monkeypatch):
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_checkpoint(path, ONE, SAVED._replace(step=8))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["one.npz"]


def test_a_checkpoint_of_the_first_format_is_named_and_left(path, monkeypatch):
    monkeypatch.setattr("lazyrich.training._checkpoint._FORMAT", 1)
    monkeypatch.setattr("lazyrich.training._checkpoint.seal", lambda content, kind: content)
    write_checkpoint(path, ONE, SAVED)
    monkeypatch.undo()
    before = path.read_bytes()
    with pytest.raises(InputError, match="another version of lazyrich"):
        read_checkpoint(path, ONE)
    assert path.read_bytes() == before
