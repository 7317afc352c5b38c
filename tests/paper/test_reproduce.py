"""Oracle: NumPy training of the same seed, and the claims of the quick presets."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import xarray as xr
from oracles import committee

from lazyrich._ground import InputError
from lazyrich.nets import init_committee_machine
from lazyrich.paper import CLAIMS, FIGURES, read_verdicts, reproduce
from lazyrich.tasks import polynomial_regression

SMALL = {
    "dim": "6",
    "width": "12",
    "n_train": "40",
    "n_steps": "300",
    "n_test": "200",
    "epsilon": "0.3",
    "learning_rate": "0.2",
}


def small(figure, out, *, n_seeds=3, **changes):
    probe = {"n_probe": "150"} if figure == "fig1" else {}
    [found] = reproduce([figure], out=out, n_seeds=n_seeds, changes=SMALL | probe | changes)
    return found


@pytest.mark.parametrize("centered", ["true", "false"])
def test_a_seed_is_the_training_of_its_weights(tmp_path, centered):
    found = small("fig4", tmp_path, n_seeds=2, centered=centered, alpha="0.7")
    run = found.dataset.sel(seed=1)
    data_key, init_key = jax.random.split(jax.random.key(1))
    data = polynomial_regression(data_key, dim=6, n_train=40, n_test=200)
    weights = np.asarray(init_committee_machine(init_key, 12, dim=6).weights)
    scales = {"alpha": 0.7, "epsilon": 0.3}
    is_centered = centered == "true"
    final, _, losses = committee.gradient_descent(
        weights,
        np.asarray(data.x),
        np.asarray(data.y),
        learning_rate=0.2,
        n_steps=300,
        centered=is_centered,
        **scales,
    )
    steps = run.step.values
    # The figure's descent runs in float32.
    np.testing.assert_allclose(run.train_loss[:-1], losses[steps[:-1]], rtol=2e-4)
    x_test = np.asarray(data.x_test)
    output = committee.output(final, x_test, **scales)
    if is_centered:
        output = output - committee.output(weights, x_test, **scales)
    squares = (output - np.asarray(data.y_test)) ** 2
    assert run.test_loss.values[-1] == pytest.approx(squares.mean(), rel=1e-3)
    assert run.test_loss_error.values[-1] == pytest.approx(squares.std() / 200**0.5, rel=1e-3)
    assert run.weight_norm.values[-1] == pytest.approx(np.linalg.norm(final), rel=1e-4)


def test_files_are_complete_and_the_claims_can_be_read_again(tmp_path):
    found = small("fig1", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "claims.json",
        "fig1.nc",
        "fig1.pdf",
        "fig1.png",
    ]
    with xr.open_dataset(tmp_path / "fig1.nc", engine="h5netcdf") as stored:
        assert stored.sizes["seed"] == 3
        assert json.loads(stored.attrs["settings"])["epsilon"] == 0.3
        np.testing.assert_array_equal(stored.alignment, found.dataset.alignment)
    figure = read_verdicts(tmp_path)["fig1"]
    wanted = [claim.name for claim in CLAIMS if claim.figure == "fig1"]
    assert sorted(row["name"] for row in figure["claims"]) == sorted(wanted)
    small("fig4", tmp_path)
    assert list(read_verdicts(tmp_path)) == ["fig1", "fig4"]


def test_finished_seeds_are_not_computed_again(tmp_path, monkeypatch):
    first = small("fig4", tmp_path, n_seeds=2)
    ran = []
    recipe = FIGURES["fig4"]

    def counted(settings, seed, tick):
        ran.append(seed)
        return recipe.run(settings, seed, tick)

    monkeypatch.setitem(FIGURES, "fig4", dataclasses.replace(recipe, run=counted))
    more = small("fig4", tmp_path, n_seeds=3)
    assert ran == [2]
    xr.testing.assert_equal(more.dataset.sel(seed=[0, 1]), first.dataset)
    small("fig4", tmp_path, n_seeds=1, alpha="2")
    assert ran == [2, 0]  # another setting is another run


def test_a_damaged_seed_file_is_computed_again(tmp_path):
    first = small("fig4", tmp_path, n_seeds=2)
    for path in (tmp_path / "seeds").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    again = small("fig4", tmp_path, n_seeds=2)
    xr.testing.assert_equal(again.dataset, first.dataset)


def test_a_diverging_seed_is_named_and_its_finite_part_kept(tmp_path):
    found = small("fig1", tmp_path, learning_rate="1000")
    assert len(found.notes) == 3
    assert "alpha=1, epsilon=0.3, learning_rate=1000" in found.notes[0]
    assert "diverged after step" in found.notes[0]
    loss = found.dataset.train_loss
    assert np.isfinite(loss.isel(step=0)).all()
    assert not np.isfinite(loss.isel(step=-1)).any()
    assert not any(
        verdict.outcome == "holds"
        for verdict in found.verdicts
        if verdict.claim.name in ("beats the kernel", "weight norm grows", "alignment grows")
    )


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path, monkeypatch):
    small("fig4", tmp_path, n_seeds=1)
    before = (tmp_path / "fig4.nc").read_bytes()

    def refuse(self, path, **kwargs):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", refuse)
    with pytest.raises(InputError, match=r"No space left on device.*finished seeds are kept"):
        small("fig4", tmp_path, n_seeds=2)
    assert (tmp_path / "fig4.nc").read_bytes() == before
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"figures": ["fig44"]}, "no figure 'fig44'; did you mean fig4?"),
        ({"figures": []}, "No figure was named"),
        ({"preset": "fast"}, "no preset 'fast'; choose from paper, quick"),
        ({"n_seeds": 0}, "--seeds is 0"),
        ({"changes": {"alfa": "1"}}, "no setting 'alfa'; did you mean alpha?"),
        ({"changes": {"alpha": "big"}}, "alpha is 'big'; it must be a number"),
        ({"changes": {"dim": "2.5"}}, "dim is '2.5'; it must be a whole number"),
        ({"changes": {"centered": "maybe"}}, "must be true or false"),
        ({"changes": {"epsilon": "nan"}}, "epsilon is nan; it must be finite"),
        ({"changes": {"width": "0"}}, "width is 0; it must be above zero"),
        ({"changes": {"alpha": "-1"}}, "alpha is -1.0; it must be above zero"),
        ({"changes": {"n_probe": "99999999"}}, "n_probe is 99999999"),
    ],
)
def test_bad_input_gets_one_sentence_and_nothing_is_written(tmp_path, kwargs, message):
    out = tmp_path / "out"
    with pytest.raises(InputError) as caught:
        reproduce(**({"figures": ["fig4"], "out": out} | kwargs))
    assert message in str(caught.value)
    assert not out.exists()


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output folder .* cannot be written"):
        reproduce(["fig4"], out=tmp_path / "file" / "out")


def test_a_missing_or_foreign_claims_file_gets_one_sentence(tmp_path):
    with pytest.raises(InputError, match="run `lazyrich reproduce all"):
        read_verdicts(tmp_path)
    (tmp_path / "claims.json").write_text("[]")
    with pytest.raises(InputError, match="not a claims file"):
        read_verdicts(tmp_path)


# What was found with the quick presets, negatives included: docs/log.md has the numbers.
EXPECTED = {
    ("fig1", "lazy until fitted"): "does not hold",
    ("fig1", "debiased alignment grows"): "undecided",
}


@pytest.mark.slow
@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_the_quick_preset_finds_what_the_log_reports(tmp_path, figure):
    with jax.enable_x64(False):
        [found] = reproduce([figure], out=tmp_path)
    for verdict in found.verdicts:
        key = (figure, verdict.claim.name)
        assert verdict.outcome == EXPECTED.get(key, "holds"), (key, verdict)
