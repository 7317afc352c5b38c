"""Oracle: curves that are straight in the log of the step, whose crossings are known."""

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper import FIGURES

EXPONENTS = np.arange(0, 4.01, 0.05)
STEPS = np.concatenate([[0], 10**EXPONENTS])
THRESHOLDS = (1e-4, 1e-3, 0.1)
NEVER = 9.0


def ramp(begin):
    """0 up to step 10^begin, 1 a decade later, in between straight in log step."""
    return np.clip(np.concatenate([[-1], EXPONENTS]) - begin, 0, 1)


def run(train=(2.0, 1.0, 0.0), test=(NEVER, 2.0, 0.1), *, bump=1.0):
    """A run whose accuracies begin to rise at these powers of ten, by threshold."""
    accuracies = {
        f"{part}_threshold_accuracy": (
            ("step", "threshold"),
            np.stack([np.ones_like(STEPS) if b is None else ramp(b) for b in begins], axis=1),
        )
        for part, begins in (("train", train), ("test", test))
    }
    test_loss = 1 / (1 + STEPS)
    test_loss[30] = bump * test_loss[29]
    return xr.Dataset(
        accuracies
        | {
            "train_loss": ("step", test_loss / (1 + STEPS)),
            "test_loss": ("step", test_loss),
            "status": "ok",
        },
        coords={"step": STEPS, "threshold": list(THRESHOLDS)},
    )


def over(axis, runs):
    return xr.concat(list(runs.values()), axis).assign_coords({axis: list(runs)})


def sweep(begins):
    """Runs over α whose test accuracy within 0.001 begins to rise at these powers of ten."""
    runs = {alpha: run(test=(NEVER, begin, 0.1)) for alpha, begin in begins.items()}
    return {"sweep": over("seed", dict.fromkeys((0, 1), over("alpha", runs)))}


def alone(**special):
    return {"runs": over("seed", {0: run(), 1: run(**special)})}


def test_alpha_orders_the_delays_with_censored_ones_last():
    found = FIGURES["fig8"].statistics(sweep({0.1: 1.2, 1.0: 2.5, 3.0: NEVER}))
    assert found["delay in accuracy grows with alpha"] == [1, 1]
    assert found["delay vanishes at small alpha"] == pytest.approx([10**0.2] * 2, rel=1e-3)
    found = FIGURES["fig8"].statistics(sweep({0.1: 2.0, 1.0: 1.5, 3.0: 1.2}))
    assert found["delay in accuracy grows with alpha"] == [-1, -1]


def test_a_student_that_never_fits_has_no_delay():
    runs = {0.1: run(), 1.0: run(train=(2.0, NEVER, 0.0))}
    found = FIGURES["fig8"].statistics({"sweep": over("seed", {0: over("alpha", runs)})})
    assert np.isnan(found["delay in accuracy grows with alpha"]).all()


def test_the_threshold_decides_the_ratio():
    found = FIGURES["fig17"].statistics(alone(test=(2.5, 2.0, 0.1)))
    assert found["some threshold shows grokking"] == pytest.approx([10, 10], rel=1e-3)
    assert found["some threshold shows none"] == pytest.approx([10**0.1] * 2, rel=1e-3)


@pytest.mark.parametrize(
    "special, largest, smallest",
    [
        # Not reached in training, or before it: no ratio at that threshold.
        ({"train": (NEVER, 1.0, 0.0)}, 10, 10**0.1),
        ({"train": (2.0, 1.0, None)}, 10, 10),
        # Both there before the first step: at once.
        ({"train": (2.0, 1.0, None), "test": (NEVER, 2.0, None)}, 10, 1),
        ({"train": (NEVER,) * 3}, np.nan, np.nan),
    ],
)
def test_special_ratios(special, largest, smallest):
    found = FIGURES["fig17"].statistics(alone(**special))
    seen = [
        found[name][1] for name in ("some threshold shows grokking", "some threshold shows none")
    ]
    assert seen == pytest.approx([largest, smallest], rel=1e-3, nan_ok=True)


def test_losses_that_part_and_a_bump():
    found = FIGURES["fig18"].statistics(alone(bump=2.0))
    assert found["test loss close to train loss"] == pytest.approx([10**4 + 1] * 2, rel=1e-6)
    assert found["test loss never rises"] == pytest.approx([1, 2])


def test_every_figure_draws_what_was_never_reached():
    figure = FIGURES["fig8"].plot(sweep({0.1: 1.2, 1.0: 2.5, 3.0: NEVER}), "caption")
    assert [text.get_text() for text in figure.axes[1].texts] == ["2"]
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == r"$\alpha$ = 0.1"
    figure = FIGURES["fig17"].plot(alone(), "caption")
    assert [text.get_text() for text in figure.axes[1].texts] == ["2"]
    assert len(figure.axes[0].lines) == 2 * len(THRESHOLDS)
    gap = FIGURES["fig18"].plot(alone(), "caption").axes[2]
    assert gap.lines[0].get_ydata()[-1] == pytest.approx(10**4 + 1)


def test_figures_17_and_18_look_at_runs_of_figure_8():
    for preset in ("quick", "paper"):
        swept = FIGURES["fig8"].panels(preset, [0, 1])["sweep"].experiments
        for name in ("fig17", "fig18"):
            runs = FIGURES[name].panels(preset, [0, 1])["runs"].experiments
            assert len(runs) == 2
            assert all(one in swept for one in runs)
