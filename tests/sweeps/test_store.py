"""Oracle: the arrays that were put in; files damaged on purpose; xarray as a second reader."""

import errno
import json
import os

import numpy as np
import pytest
import xarray as xr

from lazyrich._base import InputError, Status
from lazyrich.sweeps import Store, experiment_key, find, grid, sweep
from lazyrich.sweeps.store._codec import DamagedFile, decode, encode
from lazyrich.sweeps.store._result import outcome_of
from lazyrich.training import CommitteeExperiment, History, Record
from sweeps.toys import Net, Scaling, Toy, run_toys, toy_history, toy_loss

TOYS = grid(Toy(), {"alpha": [0.5, 1.0, 2.0], "seed": range(2)})


@pytest.fixture(params=["folder", "memory"])
def where(request, tmp_path):
    return str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path}"


def filled(where, toys=TOYS):
    store = Store(where)
    store.require_writable()
    for toy in toys:
        store.save(outcome_of(toy_history(toy)))
    return store


def assert_same(outcome, toy):
    wanted = outcome_of(toy_history(toy))
    assert outcome.key == experiment_key(toy)
    assert Toy.from_json(outcome.config) == toy
    np.testing.assert_array_equal(outcome.steps, wanted.steps)
    assert outcome.records.keys() == wanted.records.keys()
    for name, record in outcome.records.items():
        np.testing.assert_array_equal(record.values, wanted.records[name].values)
        assert record.values.dtype == wanted.records[name].values.dtype
        assert record[1:] == wanted.records[name][1:]


@pytest.mark.parametrize("is_packed", [False, True])
def test_what_is_saved_comes_back_bit_for_bit(where, is_packed):
    store = filled(where)
    if is_packed:
        store.pack()
    other = Store(where)
    other.scan()
    found = other.outcomes([experiment_key(toy) for toy in TOYS])
    for toy in TOYS:
        assert_same(found[experiment_key(toy)], toy)


def test_a_file_is_netcdf_that_xarray_reads(tmp_path):
    filled(tmp_path)
    key = experiment_key(TOYS[3])
    found = xr.load_dataset(tmp_path / "experiments" / f"{key}.nc", engine="h5netcdf")
    np.testing.assert_array_equal(found.train_loss, toy_loss(TOYS[3]))
    np.testing.assert_array_equal(found.threshold, [0.5, 0.9])
    assert found.solved.dims == ("step", "threshold")
    assert found.train_loss.units == "label units²"
    assert json.loads(found.attrs["config"])["scaling"]["alpha"] == 1.0
    assert (found.attrs["status"], found.attrs["wall_seconds"], found.attrs["key"]) == (
        "ok",
        0.0,
        key,
    )
    assert {"lazyrich", "jax", "python", "device"} <= json.loads(found.attrs["machine"]).keys()


def test_records_that_share_names_with_dimensions_come_back(tmp_path):
    from lazyrich.training import Record

    history = toy_history(Toy())
    n = len(history.steps)
    history.records["step"] = Record(np.ones(n))
    history.records["threshold"] = Record(np.zeros((n, 1)), "dimensionless", ("layer",), (("a",),))
    outcome = outcome_of(history)
    back = decode(encode(outcome), outcome.key)
    np.testing.assert_array_equal(back.records["step"].values, 1)
    assert back.records["threshold"].coordinates == (("a",),)
    assert back.records["layer_norm"].coordinates == (None,)
    (tmp_path / "one.nc").write_bytes(encode(outcome))
    with xr.open_dataset(tmp_path / "one.nc", engine="h5netcdf") as found:
        assert found.layer_norm.shape == (n, 2)


def test_every_damage_to_a_file_is_noticed():
    outcome = outcome_of(toy_history(Toy()))
    content = encode(outcome)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150):
        broken = bytearray(content)
        broken[place] ^= 1 << int(rng.integers(8))
        try:
            back = decode(bytes(broken), outcome.key)
        except DamagedFile:
            continue
        # A flipped bit in padding may go unnoticed, but only if it changes nothing.
        assert_same(back, Toy())
        assert back.facts == outcome.facts
    for length in (0, 8, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(DamagedFile):
            decode(content[:length], outcome.key)


@pytest.mark.parametrize("damage", ["cut off", "foreign", "renamed", "empty"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_damaged_file_is_named_set_aside_and_computed_again(
    tmp_path, caplog, damage, is_packed, monkeypatch
):
    store = filled(tmp_path)
    if is_packed:
        store.pack()
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    path = tmp_path / "experiments" / f"{experiment_key(TOYS[0])}.nc"
    whole = path.read_bytes()
    other = tmp_path / "experiments" / f"{experiment_key(TOYS[1])}.nc"
    content = {
        "cut off": whole[: len(whole) // 2],
        "foreign": b"dear diary",
        "renamed": other.read_bytes(),
        "empty": b"",
    }[damage]
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    found = sweep(TOYS, store=tmp_path, run=run_toys, progress=False)
    assert path.name in caplog.text
    assert "set aside" in caplog.text
    (aside,) = (tmp_path / "set-aside").iterdir()
    assert aside.read_bytes() == content
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    np.testing.assert_array_equal(found.train_loss.sel(alpha=0.5, seed=0), toy_loss(TOYS[0]))


def test_files_of_other_people_are_left_alone(tmp_path):
    filled(tmp_path)
    diary = tmp_path / "experiments" / "diary.nc"
    diary.write_text("dear diary")
    sweep(TOYS, store=tmp_path, run=run_toys, progress=False)
    assert diary.read_text() == "dear diary"


def test_a_damaged_or_stale_pack_costs_nothing_but_time(tmp_path):
    filled(tmp_path).pack()
    (pack,) = (tmp_path / "packs").iterdir()
    content = pack.read_bytes()
    for broken in (content[:1000], b"", content[: len(content) // 2] + content):
        pack.write_bytes(broken)
        store = Store(tmp_path)
        store.scan()
        found = store.outcomes(store.kept)
        assert len(found) == len(TOYS)
        for toy in TOYS:
            assert_same(found[experiment_key(toy)], toy)


def test_many_packs_become_one(tmp_path):
    toys = grid(Toy(), {"seed": range(40)})
    for toy in toys:
        store = filled(tmp_path, [toy])
        store.pack()
    (tmp_path / "experiments" / f"{experiment_key(toys[7])}.nc").unlink()
    Store(tmp_path).tidy()
    assert len(list((tmp_path / "packs").iterdir())) == 1
    store = Store(tmp_path)
    store.scan()
    assert store.kept.keys() == {experiment_key(toy) for toy in toys} - {experiment_key(toys[7])}
    assert_same(next(iter(store.outcomes([experiment_key(toys[3])]).values())), toys[3])


def test_a_setting_that_is_stored_only_where_it_was_given_can_be_asked_for(tmp_path):
    store, steps = Store(tmp_path), np.array([0])
    base = CommitteeExperiment(dim=5, width=20, n_train=30, n_steps=10)
    for seed, mixed in enumerate((None, None, 0.5)):
        one = base.changed({"seed": seed, "mixed": mixed})
        history = History(one, steps, {"train_loss": Record(steps + 1.0)}, Status.ok, None, 0.1)
        store.save(outcome_of(history))

    def seeds(condition):
        return [json.loads(one.config)["seed"] for one in find(tmp_path, [condition])]

    assert seeds("mixed=null") == [0, 1]
    assert seeds("mixed!=null") == seeds("mixed>0.1") == [2]
    assert seeds("printed=null") == [0, 1, 2]
    assert seeds("precision=float32") == [0, 1, 2]
    with pytest.raises(InputError, match="None of the 3"):
        find(tmp_path, ["precision=float64"])
    with pytest.raises(InputError, match="names no setting"):
        find(tmp_path, ["mixd=null"])


def test_a_store_of_a_future_format_is_refused_and_left_as_it_was(tmp_path):
    store = filled(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.nc")}
    mark = tmp_path / "store.json"
    mark.write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99, made by a newer lazyrich"):
        sweep(grid(Toy(), {"seed": range(9)}), store=tmp_path, run=run_toys, progress=False)
    assert mark.read_text() == '{"format": 99}'
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.nc")} == before
    del store


def test_a_file_of_a_future_format_is_refused_and_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("lazyrich.sweeps.store._codec.FORMAT", 2)
    filled(tmp_path)
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.nc")}
    with pytest.raises(InputError, match="newer lazyrich"):
        sweep(TOYS, store=tmp_path, run=run_toys, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.nc")} == before


def test_a_mark_that_is_not_a_stores_is_not_overwritten(tmp_path):
    (tmp_path / "store.json").write_text("groceries")
    with pytest.raises(InputError, match="not a store's"):
        Store(tmp_path)
    assert (tmp_path / "store.json").read_text() == "groceries"


@pytest.mark.parametrize("when", ["write", "close"])
def test_a_full_disk_gets_a_sentence_and_leaves_no_damaged_file(tmp_path, monkeypatch, when):
    # A real full disk is met in tests/doors/test_sweep_disk.py, where one can be mounted.
    store = filled(tmp_path, TOYS[:2])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace" if when == "close" else "fstat", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        store.save(outcome_of(toy_history(TOYS[2])))
    monkeypatch.undo()
    names = sorted(os.listdir(tmp_path / "experiments"))
    assert names == sorted(f"{experiment_key(toy)}.nc" for toy in TOYS[:2])
    store.save(outcome_of(toy_history(TOYS[2])))
    assert len(os.listdir(tmp_path / "experiments")) == 3


def test_a_place_that_is_no_folder_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be (read|written) \(Not a directory\)"):
        sweep(TOYS, store=tmp_path / "file", run=run_toys, progress=False)
    with pytest.raises(InputError, match="cannot be reached"):
        sweep(TOYS, store="gopher://far/away", run=run_toys, progress=False)


def test_what_a_killed_process_left_is_swept_up(tmp_path):
    import platform

    filled(tmp_path, TOYS[:1])
    host, folder = platform.node(), tmp_path / "experiments"
    begun = encode(outcome_of(toy_history(TOYS[1])))[:1000]
    dead, young, foreign, of_another_kind = (
        folder / f".lazyrich-{name}-4194999-{k:016x}.part"
        for k, name in enumerate((host, host, "elsewhere", host))
    )
    for path in (dead, young, foreign, of_another_kind):
        path.write_bytes(b"notes" if path == of_another_kind else begun)
    for path in (dead, foreign, of_another_kind):
        os.utime(path, (0, 0))
    (tmp_path / "packs").mkdir(exist_ok=True)
    others = {tmp_path / dead.name: b'{"fo', tmp_path / "packs" / dead.name: begun}
    for path, content in others.items():
        path.write_bytes(content)
        os.utime(path, (0, 0))
    filled(tmp_path, TOYS[1:2])
    assert not dead.exists()
    assert not any(path.exists() for path in others)
    dead.write_bytes(begun)
    os.utime(dead, (0, 0))
    sweep(TOYS[:2], store=tmp_path, run=run_toys, progress=False)  # with nothing to compute
    assert not dead.exists()
    assert young.exists()  # may be in use in this moment, by another container of that name
    assert foreign.exists()
    assert of_another_kind.exists()


def test_keys_tell_settings_and_versions_apart():
    assert experiment_key(Toy()) == experiment_key(Toy(seed=0, scaling=Scaling(alpha=1)))
    others = [Toy(seed=1), Toy(scaling=Scaling(alpha=1.5)), Toy(net=Net(sizes=(2, 4)))]
    assert len({experiment_key(toy) for toy in [Toy(), *others]}) == 4


def test_a_key_is_the_same_in_every_session():
    # Written down once: a change would compute everybody's experiments again.
    class Fixed(Toy):
        pass

    Fixed.__module__, Fixed.__qualname__ = "lazyrich.training._experiment", "Fixed"
    assert experiment_key(Fixed())[:16] == "c9f60bde83ca8a4a"
