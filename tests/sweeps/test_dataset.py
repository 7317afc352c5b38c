"""Oracle: each cell against the curve that was put in; grids laid out by hand."""

import numpy as np
import pytest
import xarray as xr

from lazyrich._base import InputError
from lazyrich.sweeps import grid, sweep, to_dataset
from lazyrich.sweeps.store._result import outcome_of
from lazyrich.training import Record
from sweeps.toys import Net, Toy, run_toys, toy_history, toy_loss, toy_steps


def dataset_of(toys):
    return to_dataset([outcome_of(toy_history(toy)) for toy in toys])


def test_dimensions_are_named_after_what_differs():
    toys = grid(Toy(), {"alpha": [2.0, 0.5], "seed": range(3)})
    found = dataset_of(toys)
    assert found.train_loss.dims == ("alpha", "seed", "step")
    assert found.solved.dims == ("alpha", "seed", "step", "threshold")
    assert found.alpha.values.tolist() == [0.5, 2.0]
    for toy in toys:
        cell = found.sel(alpha=toy.scaling.alpha, seed=toy.seed)
        np.testing.assert_array_equal(cell.train_loss, toy_loss(toy))
        np.testing.assert_array_equal(cell.solved.sel(threshold=0.5), toy_loss(toy) < 0.5)
    assert found.train_loss.dtype == np.float64
    assert found.test_loss.dtype == np.float32
    assert found.n_active.dtype.kind == "i"
    assert found.train_loss.units == "label units²"
    assert (found.status == "ok").all()


def test_one_experiment_has_its_steps_alone():
    found = dataset_of([Toy()])
    assert dict(found.sizes) == {"step": 5, "threshold": 2, "layer": 2}
    np.testing.assert_array_equal(found.train_loss, toy_loss(Toy()))
    assert found.status.item() == "ok"


def test_a_hole_in_the_grid_is_missing_and_nan():
    toys = grid(Toy(), {"alpha": [0.5, 1.0], "seed": range(3)})
    found = dataset_of(toys[:1] + toys[2:])
    hole = found.sel(alpha=0.5, seed=1)
    assert np.isnan(hole.train_loss).all()
    assert (hole.status.item(), hole.key.item()) == ("missing", "")
    assert np.isnan(hole.wall_seconds)
    assert int((found.status == "ok").sum()) == 5


def test_runs_with_other_save_steps_keep_theirs():
    toys = grid(Toy(), {"n_steps": [10, 100]})
    found = dataset_of(toys)
    union = sorted({*toy_steps(toys[0]).tolist(), *toy_steps(toys[1]).tolist()})
    assert found.step.values.tolist() == union
    for toy in toys:
        curve = found.train_loss.sel(n_steps=toy.n_steps).dropna("step")
        np.testing.assert_array_equal(curve.step, toy_steps(toy))
        np.testing.assert_array_equal(curve, toy_loss(toy))


def test_axes_of_records_that_differ_in_length_are_padded():
    toys = [Toy(net=Net(sizes=(2, 3))), Toy(net=Net(sizes=(4, 5, 6)))]
    found = dataset_of(toys)
    assert found.sizes["layer"] == 3
    assert found.sizes["sizes"] == 2
    assert np.isnan(found.layer_norm.isel(sizes=0, layer=2)).all()
    np.testing.assert_array_equal(found.layer_norm.isel(sizes=1, layer=2), 6 * toy_loss(toys[1]))


def test_labels_in_another_order_stand_where_they_belong():
    histories = [toy_history(Toy(seed=seed)) for seed in (0, 1)]
    values = histories[1].records["solved"].values[:, ::-1]
    histories[1].records["solved"] = Record(values, "dimensionless", ("threshold",), ((0.9, 0.5),))
    found = to_dataset([outcome_of(history) for history in histories])
    np.testing.assert_array_equal(
        found.solved.sel(seed=1, threshold=0.5), toy_loss(Toy(seed=1)) < 0.5
    )


def test_a_setting_that_follows_another_is_a_coordinate_along_it():
    axes = {("alpha", "learning_rate"): [(1.0, 0.4), (2.0, 0.1), (4.0, 0.1)], "seed": range(2)}
    found = dataset_of(grid(Toy(), axes))
    assert found.train_loss.dims == ("alpha", "seed", "step")
    assert found.learning_rate.dims == ("alpha",)
    assert found.learning_rate.values.tolist() == [0.4, 0.1, 0.1]


def test_experiments_that_fill_little_of_a_grid_are_listed():
    rng = np.random.default_rng(0)
    toys = [
        Toy(scaling={"alpha": a}, learning_rate=b, seed=i % 3)
        for i, (a, b) in enumerate(rng.uniform(1, 2, (40, 2)))
    ]
    toys += [
        toys[0].changed({"learning_rate": 0.5}),
        toys[0].changed({"alpha": 3.0} and {"seed": 9}),
    ]
    toys += [toys[1].changed({"scaling.alpha": 0.5})]
    found = dataset_of(toys)
    assert found.train_loss.dims == ("run", "step")
    np.testing.assert_array_equal(found.alpha, [toy.scaling.alpha for toy in toys])
    np.testing.assert_array_equal(found.train_loss, [toy_loss(toy) for toy in toys])


def test_a_name_that_two_fields_share_is_written_whole():
    class Deep(Toy):
        seeds: Net = Net()

    toys = [Deep(seeds=Net(width=w)) for w in (1, 2)]
    assert dataset_of(toys).train_loss.dims == ("seeds.width", "step")


def test_settings_that_are_no_numbers_become_labels():
    found = dataset_of([Toy(n_train=n) for n in (None, 5)])
    assert found.n_train.values.tolist() == ["null", "5"]
    found = dataset_of([Toy(deed=deed) for deed in ("b", "a")])
    assert found.deed.values.tolist() == ["b", "a"]


def test_a_dataset_can_be_written_and_read(tmp_path):
    toys = grid(Toy(), {"alpha": [0.5, 1.0], "seed": range(2)})
    found = sweep(toys[:3], store=tmp_path / "store", run=run_toys, progress=False)
    found.to_netcdf(tmp_path / "all.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "all.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(back.load(), found)


def test_records_that_do_not_fit_are_refused():
    history = toy_history(Toy())
    history.records["train_loss"] = Record(np.zeros(3))
    with pytest.raises(InputError, match=r"train_loss has shape \(3,\)"):
        outcome_of(history)
