"""Oracle: every file, byte and link of a folder before and after; the numbers that were put in."""

import contextlib
import errno
import os
import shutil
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich._base import BrokenSeal, InputError
from lazyrich.sweeps import Store, experiment_key, find, grid, open_dataset, sweep
from lazyrich.sweeps.store._codec import DamagedFile, decode, encode
from lazyrich.sweeps.store._merged import PACK_FORMAT, encode_pack, read_index, read_outcomes
from lazyrich.sweeps.store._result import outcome_of
from sweeps.toys import Toy, run_toys, toy_history

TOYS = grid(Toy(), {"seed": range(3)})
KEYS = [experiment_key(toy) for toy in TOYS]
MORE = grid(Toy(), {"seed": range(4)})


def everything(folder):
    """What lies in a folder: content, link or kind, and the time of the last change."""
    found = {}
    for base, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(base, name)
            state = os.lstat(path)
            content = None
            if stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(state.st_mode):
                content = os.readlink(path)
            when = 0 if stat.S_ISDIR(state.st_mode) else state.st_mtime_ns
            found[os.path.relpath(path, folder)] = (stat.S_IFMT(state.st_mode), when, content)
    return found


def filled(folder, toys=TOYS, *, is_packed=True):
    store = Store(folder)
    for toy in toys:
        store.save(outcome_of(toy_history(toy)))
    if is_packed:
        store.pack()
    return store


def read_all(folder):
    Store(folder).scan()
    found = find(folder)
    open_dataset(folder)
    return found


FOREIGN = st.sampled_from(
    [
        "notes.txt",
        "a.h5",
        "x.nc",
        ".hidden.part",
        "copy",
        "store.json.bak",
        f"{0:032x}.h5",
        f"{1:032x}.h5",
        f"{0:064x}.nc",
        f".lazyrich-{os.uname().nodename}-4194999-{7:016x}.part",
    ]
)
WHERE = st.sampled_from(["", "experiments", "packs", "set-aside"])
KIND = st.sampled_from(["text", "empty", "link to a file", "link to a folder", "folder", "pipe"])


def put(path, kind, outside):
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        return
    if kind in ("text", "empty"):
        path.write_text("dear diary" if kind == "text" else "")
        os.utime(path, (0, 0))
    elif kind == "folder":
        path.mkdir()
        (path / "inside.txt").write_text("dear diary")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside / ("file" if kind == "link to a file" else "folder"))


@settings(max_examples=6)
@given(st.lists(st.tuples(WHERE, FOREIGN, KIND), min_size=4, max_size=16))
def test_what_others_put_into_a_store_survives_every_command(tmp_path_factory, strangers):
    """Packs beyond the most that are kept, so that merging is due, then each command in turn."""
    folder = tmp_path_factory.mktemp("store") / "store"
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_text("far away")
    (outside / "folder").mkdir()
    (outside / "folder" / f"{3:032x}.h5").write_text("far away")
    for _ in range(2):
        filled(folder)
    for where, name, kind in strangers:
        put(folder / where / name, kind, outside)
    before, far = everything(folder), everything(outside)
    assert len(read_all(folder)) == 3
    assert everything(folder) == before
    sweep(MORE, store=folder, run=run_toys, progress=False)
    Store(folder).tidy()
    assert everything(outside) == far
    after = everything(folder)
    for where, name, _ in strangers:
        path = os.path.join(where, name)
        if name == f"{0:064x}.nc" and where == "experiments" and path not in after:
            # Of a name that is ours, and no experiment: set aside, as it was.
            aside = [value for one, value in after.items() if one.startswith(f"set-aside/{name}.")]
            assert before[path] in aside
        else:
            assert after[path] == before[path]


@pytest.mark.parametrize("name", ["packs", "experiments", "set-aside"])
def test_a_folder_of_the_store_that_is_a_link_is_refused_and_nothing_is_touched(tmp_path, name):
    store, target = tmp_path / "store", tmp_path / "target"
    filled(store)
    target.mkdir()
    for k in range(40):
        (target / f"{k:032x}.h5").write_text("precious")
    (store / KEYS[0]).write_text("")
    if (store / name).exists():
        os.rename(store / name, tmp_path / "moved")
    (store / name).symlink_to(target)
    if name == "set-aside":
        path = store / "experiments" / f"{KEYS[0]}.nc"
        path.write_text("damaged")
        os.utime(path, (0, 0))
    before = everything(tmp_path)
    commands = [
        lambda: Store(store).tidy(),
        lambda: sweep(MORE[:1], store=store, run=run_toys, progress=False),
    ]
    if name != "set-aside":
        commands += [lambda: Store(store).scan(), lambda: find(store)]
    for command in commands:
        with pytest.raises(InputError, match=f"{name} in it is a link") as caught:
            command()
        assert "\n" not in str(caught.value)
    after = everything(tmp_path)
    marks = {"store/store.json"}
    assert {n: v for n, v in after.items() if n not in marks} == {
        n: v for n, v in before.items() if n not in marks
    }


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "folder", "pipe"])
def test_an_experiments_file_that_is_no_regular_file_is_left_out_and_never_replaced(
    tmp_path, kind, caplog
):
    folder, outside = tmp_path / "store", tmp_path / "outside"
    filled(folder, is_packed=False)
    (outside / "folder").mkdir(parents=True)
    path = folder / "experiments" / f"{KEYS[1]}.nc"
    os.rename(path, outside / "file")
    put(path, kind, outside)
    before = everything(tmp_path)
    assert len(read_all(folder)) == 2
    assert "not a regular file. Move it away." in caplog.text
    with pytest.raises(InputError, match="where the file of an experiment belongs"):
        sweep(TOYS, store=folder, run=run_toys, progress=False)
    Store(folder).tidy()
    after = everything(tmp_path)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", ["packs", "experiments", "set-aside"])
def test_a_file_where_a_folder_belongs_is_named_before_anything_is_computed(tmp_path, name):
    filled(tmp_path, is_packed=False)
    (tmp_path / "experiments" / f"{KEYS[0]}.nc").write_text("damaged")
    if name == "experiments":
        shutil.rmtree(tmp_path / name)
    (tmp_path / name).write_text("mine")

    def computes(experiments):
        raise AssertionError("it was computed")

    before = everything(tmp_path)
    with pytest.raises(InputError, match=f"{name} in it is a file, wanted a real folder"):
        sweep(TOYS, store=tmp_path, run=computes, progress=False)
    after = everything(tmp_path)
    after.pop("store.json", None)
    assert after == before


def test_experiments_that_cannot_be_written_are_refused_before_they_are_computed(
    tmp_path, monkeypatch
):
    filled(tmp_path)
    experiments = os.stat(tmp_path / "experiments")
    original = os.open

    def refuse(path, flags, *arguments, dir_fd=None):
        into = None if dir_fd is None else os.fstat(dir_fd)
        if flags & os.O_CREAT and into is not None and os.path.samestat(into, experiments):
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(path, flags, *arguments, dir_fd=dir_fd)

    def computes(experiments):
        raise AssertionError("it was computed")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        sweep(MORE, store=tmp_path, run=computes, progress=False)


def test_what_another_process_has_mended_meanwhile_is_not_set_aside(tmp_path):
    filled(tmp_path, is_packed=False)
    path = tmp_path / "experiments" / f"{KEYS[0]}.nc"
    path.write_text("damaged")
    slow, quick = Store(tmp_path), Store(tmp_path)
    slow.scan()
    quick.scan()
    quick.save(outcome_of(toy_history(TOYS[0])))
    sound = path.read_bytes()
    slow.save(outcome_of(toy_history(TOYS[0])))
    slow.tidy()
    assert path.read_bytes() == sound
    assert len(os.listdir(tmp_path / "set-aside")) == 1


def test_a_mark_that_never_ends_gets_a_sentence(tmp_path):
    for k, make in enumerate((os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p))):
        folder = tmp_path / str(k)
        folder.mkdir()
        make(folder / "store.json")
        with pytest.raises(InputError, match=r"cannot be read \(store\.json: it is a"):
            Store(folder)
    twice = '{"format": 99, "format": 1}'
    for content in ("", "[" * 5000, '{"format": true}', '{"format": "1"}', '{"format": 0}', twice):
        folder = tmp_path / "content"
        folder.mkdir(exist_ok=True)
        (folder / "store.json").write_text(content)
        with pytest.raises(InputError, match="not a store's"):
            sweep(TOYS, store=folder, run=run_toys, progress=False)
        assert (folder / "store.json").read_text() == content


def same_numbers(outcome, toy):
    wanted = outcome_of(toy_history(toy))
    assert outcome.config == wanted.config
    assert (outcome.status, outcome.wall_seconds) == (wanted.status, wanted.wall_seconds)
    assert outcome.records.keys() == wanted.records.keys()
    np.testing.assert_array_equal(outcome.steps, wanted.steps)
    for name, record in outcome.records.items():
        np.testing.assert_array_equal(record.values, wanted.records[name].values)
        assert record[1:] == wanted.records[name][1:]


def flipped(content, rng):
    broken = bytearray(content)
    broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def test_no_flipped_bit_gives_a_wrong_number(tmp_path):
    """300 single flips in a pack and 100 in an experiment's file, then some on the disk."""
    filled(tmp_path)
    (pack,) = (tmp_path / "packs").iterdir()
    single = tmp_path / "experiments" / f"{KEYS[1]}.nc"
    rng = np.random.default_rng(1)
    whole = {path: path.read_bytes() for path in (pack, single)}
    rows = read_index(whole[pack], pack.name).values()
    for _ in range(300):
        broken = flipped(whole[pack], rng)
        for read in (read_index, lambda content, name: read_outcomes(content, rows)):
            with pytest.raises(BrokenSeal):
                read(broken, pack.name)
    for _ in range(100):
        try:
            same_numbers(decode(flipped(whole[single], rng), KEYS[1]), TOYS[1])
        except DamagedFile:
            continue
    for path in [pack] * 8 + [single] * 8:
        for one, content in whole.items():
            state = os.stat(one)
            one.write_bytes(flipped(content, rng) if one == path else content)
            os.utime(one, ns=(state.st_atime_ns, state.st_mtime_ns))
        if path == single:
            pack.write_bytes(b"")
        store = Store(tmp_path)
        store.scan()
        found = store.outcomes(KEYS)
        assert found.keys() | store.damaged.keys() == set(KEYS)
        assert len(found) >= (2 if path == single else 3)
        for key, toy in zip(KEYS, TOYS, strict=True):
            if key in found:
                same_numbers(found[key], toy)


def test_a_pack_damaged_after_it_was_listed_is_not_read(tmp_path):
    filled(tmp_path)
    (pack,) = (tmp_path / "packs").iterdir()
    store = Store(tmp_path)
    store.scan()
    whole = pack.read_bytes()
    place = whole.index(np.float64(toy_history(TOYS[1]).records["train_loss"].values[0]).tobytes())
    pack.write_bytes(whole[:place] + b"\0" * 8 + whole[place + 8 :])
    for key, toy in zip(KEYS, TOYS, strict=True):
        same_numbers(store.outcomes([key])[key], toy)


@pytest.mark.parametrize("spoil", ["flipped", "first format"])
def test_a_pack_without_a_sound_checksum_is_not_trusted_and_written_anew(
    tmp_path, spoil, monkeypatch
):
    if spoil == "first format":
        monkeypatch.setattr("lazyrich.sweeps.store._merged.seal", lambda content, kind: content)
        monkeypatch.setattr("lazyrich.sweeps.store._merged.PACK_FORMAT", 1)
        monkeypatch.setattr("lazyrich.sweeps.store._cache.read_index", lambda content, name: {})
    filled(tmp_path)
    monkeypatch.undo()
    (pack,) = (tmp_path / "packs").iterdir()
    if spoil == "flipped":
        whole = pack.read_bytes()
        pack.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    wrong = encode_pack([([1, "1"], outcome_of(toy_history(TOYS[0])))])
    assert PACK_FORMAT == 3
    assert read_index(wrong, "x")
    sweep(TOYS, store=tmp_path, run=run_toys, progress=False)
    (anew,) = (tmp_path / "packs").iterdir()
    assert anew.name != pack.name
    store = Store(tmp_path)
    store.scan()
    assert all(store.kept[key].packed is not None for key in KEYS)
    assert not store._cache._unsound


def test_a_file_that_promises_more_than_it_holds_takes_no_memory():
    """Lengths of arrays and texts in the file set to 2³² and more, one after the other."""
    import tracemalloc

    outcome = outcome_of(toy_history(TOYS[0]))
    content = encode(outcome)
    length = np.uint64(len(outcome.steps)).tobytes()
    places = [k for k in range(len(content) - 8) if content[k : k + 8] == length]
    assert places
    tracemalloc.start()
    for place in places:
        huge = content[:place] + (2**33).to_bytes(8, "little") + content[place + 8 :]
        with contextlib.suppress(DamagedFile):
            same_numbers(decode(huge, outcome.key), TOYS[0])
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


def test_opening_writes_nothing_even_where_much_is_to_tidy(tmp_path):
    for _ in range(18):
        filled(tmp_path)
    damaged = tmp_path / "experiments" / f"{KEYS[0]}.nc"
    damaged.write_bytes(b"half")
    os.utime(damaged, (0, 0))
    before = everything(tmp_path)
    assert len(read_all(tmp_path)) == 2
    assert everything(tmp_path) == before
    Store(tmp_path).tidy()
    assert len(list((tmp_path / "packs").iterdir())) == 1
    assert [path.read_bytes() for path in (tmp_path / "set-aside").iterdir()] == [b"half"]
    assert len(read_all(tmp_path)) == 2


@pytest.mark.parametrize(
    "where, words",
    [
        ("reference://x", "cannot be reached"),
        ("~nosuchuser/x", "there is no user 'nosuchuser'"),
        ("gopher://far/away", "cannot be reached"),
        ("", "give a folder"),
        ("nul\0byte", "cannot be read"),
    ],
)
def test_a_place_that_cannot_be_reached_gets_a_sentence(where, words):
    with pytest.raises(InputError, match=words) as caught:
        Store(where)
    assert "\n" not in str(caught.value)


def test_a_file_that_another_process_removes_in_this_moment_hides_no_other(tmp_path, monkeypatch):
    filled(tmp_path, is_packed=False)
    original = os.scandir

    @contextlib.contextmanager
    def listed(where):
        """Entries, the first of which is removed before it is looked at."""
        with original(where) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{min(KEYS)}.nc", dir_fd=where)
        yield iter(found)

    monkeypatch.setattr(os, "scandir", listed)
    store = Store(tmp_path)
    store.scan()
    assert store.kept.keys() == set(KEYS) - {min(KEYS)}
