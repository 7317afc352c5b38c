"""Oracle: curves that are straight in the log of the step, whose crossings are known."""

import json

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper import FIGURES

EXPONENTS = np.arange(0, 4.01, 0.05)
STEPS = np.concatenate([[0], 10**EXPONENTS])


def ramp(begin, end=None):
    """0 up to step 10^begin, 1 from 10^end on, in between straight in log step."""
    last = begin + 1 if end is None else end
    exponents = np.concatenate([[-1], EXPONENTS])
    return np.clip((exponents - begin) / (last - begin), 0, 1)


def run(test_begin=2.0, *, train_begin=1.0, status="ok"):
    """Train accuracy rises from 10^1 to 10^2, test accuracy from 10^2 to 10^3."""
    norms = np.stack([3 - ramp(0, 1) + 3 * ramp(1, 4), 4 + 2 * ramp(1, 4)], axis=1)
    records = {
        "train_accuracy": ramp(train_begin),
        "test_accuracy": ramp(test_begin),
        "train_loss": 0.08 * (1 - ramp(0, 4)),
        "test_loss": 0.08 * (1 - ramp(1.5, 4)),
        "weight_norm": norms.sum(axis=1),
    }
    return xr.Dataset(
        {name: ("step", values) for name, values in records.items()}
        | {"weight_norms": (("step", "parameter"), norms), "status": status},
        coords={"step": STEPS},
        attrs={"common": json.dumps({"task.modulus": 20})},
    )


def over(axis, runs):
    joined = xr.concat(list(runs.values()), axis, combine_attrs="override")
    return joined.assign_coords({axis: list(runs)})


def panels(**special):
    """Two seeds, the second special; α of 1, 2 and 4 delay the test accuracy ever more."""
    alone = over("seed", {0: run(), 1: run(**special)})
    swept = {1.0: run(1.1), 2.0: run(1.5), 4.0: run(9.0)}
    late = {13: run(2.0), 23: run(1.5)}
    never = {"(50,)": run(2.0), "(400,)": run(9.0)}
    return {
        "moduli": over("seed", dict.fromkeys((0, 1), over("modulus", late))),
        "widths": over("seed", dict.fromkeys((0, 1), over("widths", never))),
        "runs": alone,
        "sweep": over("seed", dict.fromkeys((0, 1), over("alpha", swept))),
    }


def test_the_statistics_of_figure_2_are_the_crossings():
    found = FIGURES["fig2"].statistics(panels())
    # Train accuracy 99.9 % at 10^1.999, test accuracy 95 % at 10^2.95.
    assert found["test accuracy rises late"] == pytest.approx([10**0.951] * 2, rel=1e-3)
    assert found["weight norm grows"] == pytest.approx([11 / 7] * 2)
    assert found["weight norm does not decrease"] == pytest.approx([6 / 7] * 2, rel=1e-6)
    assert found["weight norm decreases nowhere in the sweep"] == pytest.approx([6 / 7] * 2)
    # The train loss has lost 1.999/4 when fitted, the test loss as much at 10^(1.5 + 2.5 · that).
    crossed = 1.5 + 2.5 * 1.999 / 4
    expected = [10 ** (crossed - 2.95)] * 2
    assert found["losses cross when accuracy rises"] == pytest.approx(expected, rel=5e-3)
    assert found["delay grows with alpha"] == [1, 1]
    assert found["delay at every modulus"] == pytest.approx([10**0.451] * 2, rel=1e-3)
    assert found["delay at every width"] == [np.inf, np.inf]  # never is not late
    assert found["delay vanishes at small alpha"] == pytest.approx([10**0.051] * 2, rel=1e-3)


def test_a_test_accuracy_that_never_rises_is_infinitely_late():
    found = FIGURES["fig2"].statistics(panels(test_begin=9.0))
    assert found["test accuracy rises late"][1] == np.inf
    assert np.isnan(found["losses cross when accuracy rises"][1])


@pytest.mark.parametrize("special", [{"train_begin": 9.0}, {"status": "diverged"}])
def test_what_was_not_reached_is_not_measured(special):
    found = FIGURES["fig2"].statistics(panels(**special))
    name = "test accuracy rises late" if "train_begin" in special else "weight norm grows"
    assert np.isfinite(found[name][0])
    assert np.isnan(found[name][1])


def test_the_statistics_of_figure_16():
    found = FIGURES["fig16"].statistics(panels())
    # Chance is 5 %: the test accuracy leaves it at 10 %, after the record at 10^2.05.
    flat = found["test loss changes while accuracy is constant"]
    assert flat == pytest.approx([0.55 / 2.5] * 2, rel=1e-6)
    assert found["test loss does not vanish"] == [0.0, 0.0]
    loss = found["train accuracy is 99.9 % at a loss of .06"]
    assert loss == pytest.approx([0.08 * (1 - 1.999 / 4)] * 2, rel=1e-2)


@pytest.mark.parametrize("special", [{}, {"test_begin": 9.0}, {"train_begin": 9.0}])
def test_figure_2_marks_the_median_steps_and_figure_16_shows_every_seed(special):
    figure = FIGURES["fig2"].plot(panels(**special), "caption")
    labels = [line.get_label() for line in figure.axes[0].lines]
    if not special:
        assert {"train accuracy 99.9 %: 100", "test accuracy 95 %: 891"} <= set(labels)
    assert any(text.get_text().isdigit() for text in figure.axes[6].texts)
    for place, label in ((3, "13"), (7, "50")):  # every modulus, every width
        assert label in [text.get_text() for text in figure.axes[place].get_xticklabels()]
    figure.canvas.draw()
    both = FIGURES["fig16"].plot(panels(**special), "caption").axes[2]
    assert len(both.lines) == 4


def test_both_figures_ask_for_the_same_runs():
    for preset in ("quick", "paper"):
        first, second = (FIGURES[name].panels(preset, [0, 1])["runs"] for name in ("fig2", "fig16"))
        assert first.experiments == second.experiments
