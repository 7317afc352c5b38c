"""Oracle: curves made by hand, whose crossing steps and orders are known in closed form."""

import math

import numpy as np
import pytest
import xarray as xr

from lazyrich._base import InputError
from lazyrich.paper import reproduce
from lazyrich.paper.figures import FIGURES, _fig12
from lazyrich.paper.figures._fig6 import held
from lazyrich.paper.figures._fig6_experiments import RULES

FIG6, FIG12 = FIGURES["fig6"], FIGURES["fig12"]
STEPS = np.array([0, 1, 10, 100, 1000, 10_000])
SEEDS = (0, 1, 2)
IMAGE_ALPHAS = (0.01, 0.1, 1.0)
TRANSFORMER_ALPHAS = (0.15, 0.3, 0.7, 1.4)
NEVER = math.inf


def rising(step, level, top=1.0):
    """An accuracy that is low before a record and at a level there; at the top from then on."""
    values = np.where(step > STEPS, 0.0, top)
    values[step == STEPS] = level
    return values


def panel(axes, curves, status="ok"):
    """A panel over axes and three seeds alike; ``curves`` gives the records of a cell."""
    cells = [dict(zip(axes, values, strict=True)) for values in _product(*axes.values())]
    shape = tuple(len(values) for values in axes.values())
    made = [curves(**cell) for cell in cells]
    data = {
        name: (
            (*axes, "seed", "step"),
            np.repeat([one[name] for one in made], 3, axis=0).reshape(*shape, 3, len(STEPS)),
        )
        for name in made[0]
    }
    data["status"] = ((*axes, "seed"), np.full((*shape, 3), status, "U12"))
    return xr.Dataset(data, {**axes, "seed": list(SEEDS), "step": STEPS})


def _product(*values):
    mesh = np.meshgrid(*values, indexing="ij")
    return zip(*(m.ravel() for m in mesh), strict=True) if values else [()]


def learner(train_step, test_step):
    """Accuracies that rise to the transformer's two levels at given records."""
    return {
        "train_loss": np.full(len(STEPS), 1.0),
        "train_accuracy": rising(train_step, 0.99),
        "test_accuracy": rising(test_step, 0.95),
    }


def image_panel(test_steps):
    """Train accuracy of 98 % at step 10; kernel distance α⁻¹ and linearized gap α⁻² there."""

    def curves(alpha, weight_decay=0.0):
        return {
            "train_loss": np.full(len(STEPS), 1.0),
            "train_accuracy": rising(10, 0.98),
            # 95 % of the best, which is .8, at a record.
            "test_accuracy": rising(test_steps[alpha], 0.76, top=0.8),
            "test_loss": np.full(len(STEPS), 2.0),
            "linearized_test_loss": np.full(len(STEPS), 2.0 + 2.0 / alpha**2),
            "kernel_distance": np.full(len(STEPS), 1 / alpha),
        }

    return curves


def fig6_panels(test_steps, centered_steps, delays):
    images = panel({"alpha": list(IMAGE_ALPHAS)}, image_panel(test_steps))
    axes = {"weight_decay": [0.0, 0.03], "alpha": list(IMAGE_ALPHAS)}
    transformers = {
        name: panel({"alpha": list(TRANSFORMER_ALPHAS)}, lambda alpha, d=row: learner(1, d[alpha]))
        for name, row in delays.items()
    }
    centered = panel(axes, image_panel(centered_steps))
    return {
        "images": images,
        "images linearized": images,
        "images centred": centered,
        **transformers,
    }


def test_orders_of_the_curves_are_found_for_every_claim():
    up = dict(zip(TRANSFORMER_ALPHAS, (10, 100, 1000, 10_000), strict=True))
    down = dict(zip(TRANSFORMER_ALPHAS, (10_000, 1000, 100, 10), strict=True))
    tied = dict(zip(TRANSFORMER_ALPHAS, (10, 100, NEVER, NEVER), strict=True))
    flat = dict.fromkeys(TRANSFORMER_ALPHAS, 10)
    panels = fig6_panels(
        dict(zip(IMAGE_ALPHAS, (10, 100, 1000), strict=True)),
        dict(zip(IMAGE_ALPHAS, (1000, 100, 10), strict=True)),
        dict(zip(RULES, (up, down, tied, flat), strict=True)),
    )
    found = FIG6.statistics(panels)
    prefix = "delay grows with alpha, transformer, "
    wanted = {
        "delay grows with alpha on MNIST": 1.0,
        "delay vanishes at small alpha on MNIST": 1.0,
        "kernel change at the fit falls with alpha on MNIST": 1.0,
        "delay in steps grows with alpha on MNIST": 1.0,
        "gap to the linearized network falls with alpha on MNIST": 1.0,
        "delay grows with alpha on MNIST, centred": -1.0,
        "delay grows with alpha on MNIST, centred without decay": -1.0,
        f"{prefix}rate over alpha squared": 1.0,
        f"{prefix}rate over alpha": -1.0,
        # The two that never generalise are in no known order.
        f"{prefix}rate fixed": 1.0,
        f"{prefix}decay matched": math.nan,
    }
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx([value] * 3, nan_ok=True), name
    figure = FIG6.plot(panels, "caption")
    assert [len(one.lines) > 0 for one in figure.axes] == [True] * 8
    published = {name: panel({}, lambda: learner(1, 100)) for name in ("Omnigrok", "Nanda")}
    for one in published.values():
        one["test_loss"] = one.train_loss
    figure = FIG6.plot(panels | published, "caption")
    assert [len(one.lines) > 0 for one in figure.axes] == [True] * 12


def test_the_ratio_at_the_smallest_alpha_is_that_of_the_steps():
    flat = dict.fromkeys(TRANSFORMER_ALPHAS, 10)
    steps = dict(zip(IMAGE_ALPHAS, (100, 10, 1), strict=True))
    found = FIG6.statistics(fig6_panels(steps, steps, dict.fromkeys(RULES, flat)))
    assert found["delay vanishes at small alpha on MNIST"] == pytest.approx([10.0] * 3)


def fig12_panels(matched, **steps):
    given = {"a": (10, 1000), "b": (10, 100), "c": (100, 10_000), "c rate fixed": (10, 100)}
    given |= {"c decay matched": matched} | steps
    found = {name: panel({}, lambda pair=pair: learner(*pair)) for name, pair in given.items()}
    return found | {"decay": decay_panel()}


def decay_panel():
    """A delay of 99 whatever the decay, and of 9 at the largest."""
    decays = sorted(decay for _, decay in _fig12.DECAYS)
    return panel(
        {"weight_decay": decays}, lambda weight_decay: learner(1, 10 ** (2 - (weight_decay == 1.0)))
    )


@pytest.mark.parametrize(
    "matched, ratio",
    [
        ((10, 1000), 990 / 90),
        ((10, NEVER), NEVER),  # memorised and never generalised: the delay is back
        ((NEVER, NEVER), math.nan),  # learned nothing: there is no delay
    ],
)
def test_delays_against_each_other(matched, ratio):
    panels = fig12_panels(matched)
    found = FIG12.statistics(panels)
    assert found["decay removes the delay"] == pytest.approx([90 / 990] * 3)
    assert found["ten times less decay, ten times the delay"] == pytest.approx([11.0] * 3)
    assert found["larger alpha restores the delay"] == pytest.approx([9900 / 90] * 3)
    assert found["larger alpha restores the delay, rate fixed"] == pytest.approx([1.0] * 3)
    matched_ratio = found["larger alpha restores the delay, decay matched"]
    assert matched_ratio == pytest.approx([ratio] * 3, nan_ok=True)
    assert [len(one.lines) > 0 for one in FIG12.plot(panels, "caption").axes] == [True] * 5


def test_no_multiple_of_a_delay_that_is_not_there():
    found = FIG12.statistics(fig12_panels((10, 1000), b=(100, 10)))
    assert np.isnan(found["larger alpha restores the delay"]).all()


def test_only_solved_runs_are_held_at_their_last_accuracy():
    def curves():
        cut = np.where(STEPS > 100, np.nan, 1.0)
        found = {name: cut * values for name, values in learner(1, 100).items()}
        return found | {"test_accuracy": cut * rising(100, 0.97)}

    solved, diverged = (held(panel({}, curves, status)) for status in ("ok", "diverged"))
    assert (solved.test_accuracy.sel(step=10_000) == 0.97).all()
    assert np.isnan(diverged.test_accuracy.sel(step=10_000)).all()


def test_rate_and_decay_of_a_step_are_what_the_titles_say():
    def of_step(one):
        optimizer, alpha = one.optimizer, one.scaling.alpha
        power = {"inverse_square": 2, "inverse": 1, "fixed": 0}[optimizer.learning_rate_rule]
        decay = optimizer.learning_rate * optimizer.weight_decay
        rate = optimizer.learning_rate / alpha**power
        return rate, decay if optimizer.matched_decay else rate * optimizer.weight_decay

    runs = {name: of_step(p.experiments[0]) for name, p in FIG12.panels("quick", [0]).items()}
    assert runs["b"] == pytest.approx((2e-3, 1e-2))
    assert runs["c rate fixed"] == pytest.approx(runs["b"])
    assert runs["c"] == pytest.approx((5e-4 / 1.96, 5e-4 / 1.96 * 5))
    assert runs["c decay matched"] == pytest.approx((runs["c"][0], runs["b"][1]))
    matched = FIG6.panels("quick", [0])["decay matched"].experiments
    assert len({round(of_step(one)[1], 12) for one in matched}) == 1


def test_without_the_files_the_paper_preset_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYRICH_DATA", str(tmp_path))
    with pytest.raises(InputError, match="`lazyrich data mnist` fetches good files"):
        reproduce(["fig6"], preset="paper", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
