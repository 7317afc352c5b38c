"""Oracle: curves whose falls, ends and peaks are known by construction (figures 5, 11, 15, 19)."""

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper import CLAIMS, FIGURES
from lazyrich.paper._run_statistics import run_at
from lazyrich.paper.figures._fig4 import terms_gap
from lazyrich.plots import figure_style

STEPS = np.array([0, 1, 10, 100, 1000])


def curve(*, falls_at=None, start=2.0, end=0.0):
    """A loss that is at its start before a record and at its end from there on."""
    values = np.full(len(STEPS), start)
    if falls_at is not None:
        values[np.searchsorted(STEPS, falls_at) :] = end
    return values


def panel(axes, make, *, n_seeds=2):
    """A dataset as panels are: ``make`` gives the records and the status of each place."""
    shape = [*(len(values) for values in axes.values()), n_seeds]
    made = [make(*place) for place in np.ndindex(*shape)]
    dims = (*axes, "seed")
    names = made[0][0]
    arrays = {
        name: (
            (*dims, "step"),
            np.array([records[name] for records, _ in made]).reshape(*shape, len(STEPS)),
        )
        for name in names
    }
    arrays["status"] = (dims, np.array([status for _, status in made]).reshape(shape))
    coordinates = {**axes, "seed": range(n_seeds), "step": STEPS}
    return xr.Dataset(arrays, coordinates)


def names_of(figure):
    return {claim.name for claim in CLAIMS if claim.figure == figure}


def draws(figure, panels):
    with figure_style():
        return FIGURES[figure].plot(panels, "a caption")


# ---------------------------------------------------------------------------- Figure 5


def eigenvector_records(index, *, scale=1.0):
    """j = 1: together; j = 70: late, from 10 to 1000; j = 100: the test loss stays."""
    falls = {1: (10, 10), 70: (10, 1000), 100: (10, None)}[index]
    return {
        "train_loss": scale * curve(falls_at=falls[0]),
        "test_loss": scale * curve(falls_at=falls[1], end=0.02),
        "linearized_train_loss": scale * curve(falls_at=10),
        "linearized_test_loss": scale * curve(falls_at=1000, end=0.5),
        "kernel_regression_loss": scale * np.full(len(STEPS), 0.1),
        "kernel_distance": np.linspace(0, 0.3, len(STEPS)),
    }


def eigenvectors(status="ok"):
    indices = (1, 70, 100)
    return panel(
        {"index": list(indices)},
        lambda i, seed: (eigenvector_records(indices[i], scale=1.0 + seed), status),
    )


def harder():
    """Indices of growing difficulty; the second moves the kernel least."""
    rows = {1: (0.9, 1.0, 3.0), 10: (0.5, 2.0, 1.0), 50: (0.2, 3.0, 4.0), 90: (0.1, 4.0, 5.0)}

    def made(place, seed):
        start, difficulty, moved = list(rows.values())[place]
        flat = np.ones(len(STEPS))
        return {
            "train_loss": curve(falls_at=10),
            "alignment": start * flat,
            "difficulty": difficulty * flat,
            "kernel_distance": moved * flat,
        }, "ok"

    return panel({"index": list(rows)}, made)


def test_figure_5_reads_its_statistics_off_the_curves():
    found = FIGURES["fig5"].statistics({"runs": eigenvectors(), "more indices": harder()})
    assert set(found) == names_of("fig5")
    # Of the pairs of difficulty and distance (1, 3), (2, 1), (3, 4), (4, 5) one is not in order.
    assert found["kernel change grows with difficulty"] == pytest.approx([2 / 3] * 2)
    assert found["alignment falls with j"] == [-1.0, -1.0]
    assert all(len(values) == 2 for values in found.values())
    # Falls to a tenth of 2 between two records, linear in log step: 0.9 of the way for the
    # train loss, which goes to zero, 1.8/1.98 of it for the test loss.
    train_step, test_step = 10**0.9, 100 * 10 ** (1.8 / 1.98)
    assert found["middle eigenvector with delay"] == pytest.approx([test_step / train_step] * 2)
    assert found["top eigenvector without delay"] == pytest.approx([10 ** (1.8 / 1.98 - 0.9)] * 2)
    assert found["middle eigenvector generalises"] == pytest.approx([0.01] * 2)
    assert found["last eigenvector does not generalise"] == [1.0, 1.0]
    assert found["middle eigenvector below kernel regression"] == pytest.approx([0.2] * 2)
    assert found["middle eigenvector below the linearized network"] == pytest.approx([0.04] * 2)
    assert found["middle eigenvector changes the kernel"] == pytest.approx([0.3] * 2)
    assert found["kernel regression fails at the middle eigenvector"] == pytest.approx([0.05] * 2)


def test_a_diverged_run_of_figure_5_has_no_end_and_is_drawn():
    dataset = eigenvectors("diverged")
    found = FIGURES["fig5"].statistics({"runs": dataset})
    assert np.isnan(found["last eigenvector does not generalise"]).all()
    assert np.isnan(found["middle eigenvector below kernel regression"]).all()
    dataset["test_loss"][..., -1] = np.nan
    draws("fig5", {"runs": dataset, "not centred": eigenvectors()})


def test_figure_5_writes_what_lies_below_its_axes():
    dataset = eigenvectors()
    dataset["kernel_regression_loss"] = 1e-14 * dataset["kernel_regression_loss"]
    titles = [axes.get_title("left") for axes in draws("fig5", {"runs": dataset}).axes]
    assert ["$j$ = 1\n" in titles[0], "$j$ = 100\n" in titles[2]] == [True, True]
    assert titles[0].endswith("regression with $K_0$: 5e-16")


# ---------------------------------------------------------------------------- Figure 11


def test_figure_11_reads_its_statistics_off_the_curves():
    linear = np.array([0.0, 0.5, 0.8, 0.2, 0.02])
    records = {
        "train_loss": curve(falls_at=10),
        "test_loss": curve(falls_at=1000),
        "kernel_regression_loss": np.ones(len(STEPS)),
        "linear_term": linear,
        "variance_term": np.zeros(len(STEPS)),
        # Off by 0.3 at one record, three standard errors.
        "misalignment_term": curve(falls_at=1000) - linear + np.array([0, 0, 0, 0.3, 0]),
        "test_loss_error": np.full(len(STEPS), 0.1),
    }
    panels = {"runs": panel({}, lambda seed: (records, "ok"))}
    found = FIGURES["fig11"].statistics(panels)
    assert set(found) == names_of("fig11")
    assert found["three terms sum to the loss"] == pytest.approx([3.0] * 2)
    assert terms_gap(run_at(panels["runs"], seed=0)) == pytest.approx(3.0)
    assert found["train loss falls first"] == pytest.approx([100.0] * 2)
    assert found["linear power rises and vanishes"] == pytest.approx([0.025] * 2)
    # The test loss is highest at the first record: it never rose.
    assert np.isnan(found["linear power explains the rise"]).all()
    assert found["alignment improves"] == pytest.approx([-0.01] * 2)
    draws("fig11", panels)


# ---------------------------------------------------------------------------- Figure 15


def test_figure_15_has_a_delay_for_each_degree_and_infinity_where_censored():
    falls = {2: (10, 100), 3: (10, 1000), 4: (10, None)}

    def made(degree):
        train, test = falls[degree]
        records = {
            "train_loss": curve(falls_at=train),
            "test_loss": curve(falls_at=test),
            "kernel_regression_loss": np.ones(len(STEPS)),
        }
        return panel({}, lambda seed: (records, "ok"))

    panels = {f"degree_{degree}": made(degree) for degree in falls}
    panels["parity"] = made(3)
    panels["parity"]["kernel_regression_loss"][:] = 0.9
    found = FIGURES["fig15"].statistics(panels)
    assert set(found) == names_of("fig15")
    assert found["grokking at degree two"] == pytest.approx([10.0] * 2)
    assert found["grokking at degree three"] == pytest.approx([100.0] * 2)
    assert np.isinf(found["grokking at degree four"]).all()
    titles = [axes.get_title("left") for axes in draws("fig15", panels).axes]
    assert titles == ["degree 2", "degree 3", "degree 4", "§9: sparse parity, AdamW"]
    assert found["grokking on parities"] == pytest.approx([100.0] * 2)
    assert found["kernel regression is at chance on parities"] == pytest.approx([0.9] * 2)


# ---------------------------------------------------------------------------- Figure 19


def sizes_and_indices(ends, *, line=1.0, linearized=2.0, status="ok"):
    """Final test losses over starts of 2, one row for each number of points."""
    ends = np.asarray(ends, float)

    def made(size, index, seed):
        return {
            "train_loss": curve(falls_at=10),
            "test_loss": curve(falls_at=100, end=2 * ends[size, index]),
            "linearized_test_loss": curve(falls_at=1000, end=linearized),
            "kernel_regression_loss": np.full(len(STEPS), line),
        }, status

    axes = {
        "n_train": [60 * 2**k for k in range(ends.shape[0])],
        "index": [1 + 30 * k for k in range(ends.shape[1])],
    }
    return panel(axes, made)


def test_figure_19_counts_ordered_neighbours_and_the_best_gain_over_the_lazy_solution():
    # In P: 3 of 3 columns fall. In j: 3 of 4 pairs grow.
    dataset = sizes_and_indices([[0.5, 0.6, 0.9], [0.1, 0.3, 0.2]], line=1.0, linearized=2.0)
    found = FIGURES["fig19"].statistics({"runs": dataset})
    assert set(found) == names_of("fig19")
    assert found["more data helps"] == [1.0, 1.0]
    assert found["larger j is harder"] == [0.75, 0.75]
    assert found["enough data generalises"] == pytest.approx([0.3, 0.3])
    assert found["rich network below lazy solutions"] == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize(("line", "linearized"), [(0.1, 2.0), (30.0, 0.1)])
def test_no_gain_is_counted_where_a_lazy_solution_is_an_answer(line, linearized):
    """Whether the kernel's own, or a linearized network's that stopped before it fitted noise."""
    dataset = sizes_and_indices([[0.5, 0.6]], line=line, linearized=linearized)
    found = FIGURES["fig19"].statistics({"runs": dataset})
    assert np.isnan(found["rich network below lazy solutions"]).all()
    assert np.isnan(found["more data helps"]).all()  # one number of points has no neighbour


def test_diverged_cells_of_figure_19_do_not_count():
    found = FIGURES["fig19"].statistics(
        {"runs": sizes_and_indices([[0.5, 0.6], [0.1, 0.2]], status="diverged")}
    )
    assert np.isnan(found["larger j is harder"]).all()


@pytest.mark.parametrize("names", [["runs"], ["runs", "wide"]])
def test_figure_19_draws_a_cell_for_each_size_and_index_and_the_ends_of_each_panel(names):
    dataset = sizes_and_indices(np.linspace(0.1, 0.9, 8).reshape(2, 4))
    picture = draws("fig19", dict.fromkeys(names, dataset))
    assert len(picture.axes) == 8 + len(names)


def test_experiments_of_both_presets_are_what_the_captions_say():
    for name, count in [
        ("fig5", (9, 15)),
        ("fig11", (1, 1)),
        ("fig15", (4, 4)),
        ("fig19", (12, 24)),
    ]:
        for preset, expected in zip(("quick", "paper"), count, strict=True):
            panels = FIGURES[name].panels(preset, (0,))
            experiments = [one for each in panels.values() for one in each.experiments]
            assert len(experiments) == expected
            caption = FIGURES[name].captions[preset]
            first = experiments[0].model_dump()
            assert f"N={first['net']['width']}" in caption
            assert f"ε={first['net']['epsilon']:g}" in caption
            assert ("not centred" in caption) != first["scaling"]["center"]
