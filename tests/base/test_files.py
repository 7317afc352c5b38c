"""Oracle: the bytes put in, and all that lies in a folder before and after; NumPy's own reader."""

import errno
import io
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lazyrich._base import (
    BrokenSeal,
    DamagedArchive,
    FileKind,
    InputError,
    has_seal,
    open_folder,
    pack_arrays,
    read_file,
    require_writable,
    seal,
    set_aside,
    unpack_arrays,
    unseal,
    write_file,
)

NOTES = FileKind("notes", lambda file: file.read(5) == b"notes")


def write(path, content=b"notes 2", **kwargs):
    write_file(path, content, kind=NOTES, cure="choose another", **kwargs)


def put(path, kind, other):
    """Something that stands where a file is to be; gives what closes it."""
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(other)
    elif kind == "dangling link":
        path.symlink_to(other.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            here = os.getcwd()
            os.chdir(path.parent)  # addresses are short
            try:
                one.bind(path.name)
            finally:
                os.chdir(here)
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        path.write_bytes({"foreign": b"diary", "empty": b""}[kind])


KINDS = ["folder", "link", "dangling link", "pipe", "socket", "device", "foreign", "empty"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_ours_is_refused_and_left(tmp_path, kind):
    other, path = tmp_path / "other", tmp_path / "path"
    other.write_bytes(b"notes of others")
    put(path, kind, other)
    before = os.lstat(path)
    for action in (write, lambda p: require_writable(p, kind=NOTES, cure="choose another")):
        with pytest.raises(InputError, match=r"cannot be written .*; choose another\.") as caught:
            action(path)
        assert "\n" not in str(caught.value)
    after = os.lstat(path)
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_size,
    )
    assert other.read_bytes() == b"notes of others"
    assert sorted(os.listdir(tmp_path)) == ["other", "path"]


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("foreign", "empty")])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind):
    other, path = tmp_path / "other", tmp_path / "path"
    other.write_bytes(b"notes")
    put(path, kind, other)
    if kind == "link":  # the user's own path may be a link; a name inside a folder of ours not
        assert read_file(path, 10) == b"notes"
    else:
        with pytest.raises(OSError):  # noqa: PT011  each kind has its own words
            read_file(path, 10)
    with open_folder(tmp_path) as folder, pytest.raises(OSError):  # noqa: PT011
        read_file("path", 10, inside=folder)


def test_reading_ends_at_the_limit(tmp_path):
    path = tmp_path / "large"
    for size in (0, 9, 10):
        path.write_bytes(bytes(size))
        assert read_file(path, 10) == bytes(size)
    path.write_bytes(bytes(11))
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_file(path, 10)
    with path.open("wb") as file:
        file.truncate(2**40)  # no bytes on the disk
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_file(path, 10)
    assert read_file("/proc/self/status", 10**6)  # states no size
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_file("/proc/self/status", 10)


def test_ours_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a" / "b" / "path"
    write(path, b"notes 1")
    write(path)
    assert path.read_bytes() == b"notes 2"
    assert os.listdir(path.parent) == ["path"]
    with pytest.raises(InputError):
        write(tmp_path / "c" / "path", make_folder=False)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_disk_that_refuses_leaves_what_was_there(tmp_path, monkeypatch, call):
    path = tmp_path / "path"
    write(path, b"notes 1")
    original = os.open

    def refuse(name, *arguments, **kwargs):
        if call != "open" or str(name).endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(name, *arguments, **kwargs)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(InputError, match="No space left on device"):
        write(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"notes 1"
    assert os.listdir(tmp_path) == ["path"]


KILLED_WRITERS = """
import os, signal, sys
from lazyrich._base import require_writable, write_file

for call in ("replace", "fsync", "unlink"):
    if os.fork() == 0:
        setattr(os, call, lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL))
        write = require_writable if call == "unlink" else write_file
        content = () if call == "unlink" else (b"{ notes",)
        write(os.path.join(sys.argv[1], call, "path"), *content, kind=None, cure="")
    os.wait()
"""


def test_what_a_killed_writer_left_goes_with_the_next_file_of_its_kind(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED_WRITERS, tmp_path], check=True)
    for call in ("replace", "fsync", "unlink"):
        folder = tmp_path / call
        [left] = os.listdir(folder)
        assert left.endswith(".part")
        write_file(folder / "young", b"{ notes 2", kind=None, cure="")
        assert left in os.listdir(folder)  # its writer may be alive, in a container of that name
        os.utime(folder / left, (time.time() - 100,) * 2)
        for name, content in {"empty": b"", "of another kind": b"PK"}.items():
            write_file(folder / name, content, kind=None, cure="")
            assert (left in os.listdir(folder)) == (call != "unlink")
        write_file(folder / "new", b"{ notes 2", kind=None, cure="")
        assert set(os.listdir(folder)) == {"young", "empty", "of another kind", "new"}


def test_a_process_of_the_same_number_does_not_keep_what_a_former_one_left(tmp_path):
    name = f".lazyrich-{platform.node()}-{os.getpid()}-{7:016x}.part"
    for age, is_left in ((3600, True), (10 * 86400, False)):
        (tmp_path / name).write_bytes(b"notes")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
        write_file(tmp_path / f"{age}", b"notes", kind=None, cure="")
        assert (tmp_path / name).exists() == is_left


def test_names_cannot_be_guessed_and_planted_links_are_not_followed(tmp_path, monkeypatch):
    victim, path = tmp_path / "victim", tmp_path / "path"
    victim.write_bytes(b"precious")
    names = []
    original = os.replace

    def note(name, *arguments, **kwargs):
        names.append(name)
        return original(name, *arguments, **kwargs)

    monkeypatch.setattr(os, "replace", note)
    for _ in range(5):
        write(path)
    assert len(set(names)) == 5
    # Even one that guesses right is met with an error, not followed.
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 16)
    write(path)
    (tmp_path / names[-1]).symlink_to(victim)
    with pytest.raises(InputError, match="File exists"):
        write(path)
    assert victim.read_bytes() == b"precious"


@settings(max_examples=60)
@given(
    st.one_of(
        st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
        st.sampled_from(["", ".", "..", "a/", "file/x", "x" * 256, "é" * 128, "nul\0", "\udcff"]),
    )
)
def test_any_name_is_written_or_refused_in_one_sentence(name):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/file", "w") as file:
            file.write("diary")
        path = f"{folder}/sub/{name}" if name.startswith("/") else f"{folder}/{name}"
        if ".." in name.split("/"):
            return
        try:
            require_writable(path, kind=NOTES, cure="choose another")
        except InputError:
            with pytest.raises(InputError, match=r"; choose another\.$"):
                write(path)
        else:
            write(path)
            assert read_file(path, 10) == b"notes 2"
        with open(f"{folder}/file") as file:
            assert file.read() == "diary"


def test_a_folder_inside_that_is_a_link_is_not_opened(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with open_folder(tmp_path / "link"):  # given by the user
        pass
    with open_folder(tmp_path) as outer:
        for make in (False, True):
            with (
                pytest.raises(OSError, match="is a link, wanted a real folder"),
                open_folder("link", inside=outer, make=make),
            ):
                pass


def test_setting_aside_renames_over_nothing(tmp_path):
    names = []
    for k in range(4):
        (tmp_path / "one").write_text(str(k))
        if k == 1:
            (tmp_path / "one.damaged2").symlink_to(tmp_path / "nowhere")
        names.append(set_aside(tmp_path / "one").name)
    assert names == ["one.damaged", "one.damaged3", "one.damaged4", "one.damaged5"]
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1", "2", "3"]
    with pytest.raises(OSError):  # noqa: PT011
        set_aside(tmp_path / "missing")
    assert not (tmp_path / "missing.damaged").exists()


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(0, 7))
def test_a_seal_tells_every_change(content, place, bit):
    sealed = bytearray(seal(content, "two words"))
    assert unseal(bytes(sealed), "two words") == content
    assert has_seal(io.BytesIO(sealed), "two words")
    assert not has_seal(io.BytesIO(sealed), "words")
    with pytest.raises(BrokenSeal):
        unseal(bytes(sealed), "words")
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(BrokenSeal):
        unseal(bytes(sealed), "two words")
    with pytest.raises(BrokenSeal):
        unseal(bytes(sealed[: place % len(sealed)]), "two words")


ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", "i8", "u1", "?", "U3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["a", "b b", "c"]), ARRAYS, max_size=3))
def test_arrays_come_back_as_numpy_reads_them(arrays):
    content = pack_arrays(arrays)
    found = unpack_arrays(content, 10**6)
    assert found.keys() == arrays.keys()
    with np.load(io.BytesIO(content)) as file:
        for name, values in found.items():
            np.testing.assert_array_equal(values, file[name], strict=True)
    n_bytes = sum(values.nbytes for values in arrays.values())
    if n_bytes:
        with pytest.raises(DamagedArchive):
            unpack_arrays(content, n_bytes)
