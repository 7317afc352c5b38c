"""Oracle: closed forms and laws of each measurement, written out by hand or in plain NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.diagnosis import (
    THRESHOLD_HISTORY,
    THRESHOLDS,
    Estimate,
    Evidence,
    GroupChange,
    Labels,
    LinearPart,
    Optimization,
    Regime,
    Snapshot,
    decay_steps,
    decide,
    diagnosis_of,
    measure,
)
from lazyrich.diagnosis._evidence import permuted, read_labels
from lazyrich.diagnosis._features import refit_error
from lazyrich.diagnosis._kernel_change import kernel_change
from lazyrich.diagnosis._label_energy import against, label_fit
from lazyrich.diagnosis._linearization import linearization_gap
from lazyrich.diagnosis._logits import logits_of
from lazyrich.diagnosis._schedule import Throttle, next_scheduled

RNG = np.random.default_rng(0)


def kernel(n=12, c=1, p=30, seed=0):
    """A kernel (n, n, c, c) and its Jacobian (n, c, p)."""
    jac = np.random.default_rng(seed).normal(size=(n, c, p))
    return np.einsum("nap,mbp->nmab", jac, jac), jac


def snapshot(k):
    return Snapshot(np.zeros((len(k), k.shape[-1])), kernel=k)


def exactly(value):
    return Estimate(value, value, value)


# Verdict


@pytest.mark.parametrize(
    "gap, cosine, regime",
    [
        (exactly(0.0), exactly(1.0), "lazy"),
        (exactly(1.0), exactly(0.3), "rich"),
        (exactly(1.0), exactly(1.0), "in between"),  # the scale has grown and nothing else
        (Estimate(0.3, 0.0, 1.5), exactly(0.3), "undecided"),
        (exactly(math.nan), exactly(1.0), "undecided"),
        (exactly(0.0), exactly(math.nan), "undecided"),
    ],
)
def test_the_verdict_needs_both_numbers_and_their_intervals(gap, cosine, regime):
    assert decide(gap, cosine).regime == regime


@given(st.floats(0, 3), st.floats(0, 3), st.floats(-1, 1), st.floats(-1, 1))
def test_a_wider_interval_never_changes_one_verdict_into_another(a, b, c, d):
    (low, high), (lower, upper) = sorted((a, b)), sorted((c, d))
    wide = decide(Estimate(low, low, high), Estimate(lower, lower, upper)).regime
    narrow = decide(exactly(low), exactly(upper)).regime
    assert wide in (narrow, Regime.UNDECIDED)


def test_every_threshold_has_its_sentence_and_the_table_a_history():
    assert all(one.sentence.endswith(".") for one in THRESHOLDS.values())
    assert THRESHOLDS["lazy_gap"].value < THRESHOLDS["rich_gap"].value
    assert THRESHOLDS["lazy_cosine"].value > THRESHOLDS["rich_cosine"].value
    assert THRESHOLD_HISTORY


# Kernels


def test_equal_kernels_up_to_scale():
    k, _ = kernel(c=2)
    found = kernel_change(snapshot(k), snapshot(3 * k))
    assert found.cosine.value == pytest.approx(1)
    assert found.growth.value == pytest.approx(3)
    assert found.distance.value == pytest.approx(2)


def test_the_interval_over_rows_is_the_jackknife_by_hand():
    (k0, _), (k, _) = kernel(), kernel(seed=1)
    found = kernel_change(snapshot(k0), snapshot(k)).cosine
    h = np.eye(12) - 1 / 12
    a, b = h @ k0[:, :, 0, 0] @ h, h @ k[:, :, 0, 0] @ h

    def cosine(keep):
        s, t = a[np.ix_(keep, keep)], b[np.ix_(keep, keep)]
        return (s * t).sum() / np.linalg.norm(s) / np.linalg.norm(t)

    rows = np.arange(12)
    left = np.array([cosine(rows[rows != i]) for i in rows])
    error = np.sqrt(11 / 12 * ((left - left.mean()) ** 2).sum())
    assert found.value == pytest.approx(cosine(rows))
    assert (found.high - found.low) / 2 == pytest.approx(2.201 * error, rel=1e-3)


def test_the_cosine_of_unrelated_kernels_is_their_mean_under_rotations():
    (k0, _), (k, _) = kernel(), kernel(seed=1)
    h = np.eye(12) - 1 / 12
    basis = np.linalg.svd(h)[0][:, :11]
    a, b = (basis.T @ one[:, :, 0, 0] @ basis for one in (k0, k))
    rotated = []
    for seed in range(300):
        q = np.linalg.qr(np.random.default_rng(seed).normal(size=(11, 11)))[0]
        rotated.append((a * (q @ b @ q.T)).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    wanted = kernel_change(snapshot(k0), snapshot(k)).unrelated_cosine
    assert np.mean(rotated) == pytest.approx(wanted, abs=4 * np.std(rotated) / 300**0.5)


def test_a_constant_mode_is_not_seen():
    k, _ = kernel()
    with_constant = k + 1e4
    found = kernel_change(snapshot(k), snapshot(with_constant))
    assert found.cosine.value == pytest.approx(1, abs=1e-6)


# Gap


def test_the_gap_of_a_square():
    # f = θ², θ from 1 to 1 + d: f − f₀ = 2d + d², J₀Δ = 2d.
    d, scale = 0.5, np.arange(1.0, 7.0)[:, None]
    part = LinearPart(scale, scale * (1 + d) ** 2, {"jvp": scale * 2 * d}, 1e-16)
    assert linearization_gap(part).gap.value == pytest.approx(d**2 / (2 * d + d**2))


def test_rounding_widens_the_gap():
    f0 = 1e6 * np.ones((5, 1))
    part = LinearPart(f0, f0 + 0.5, {"jvp": 0.5 * np.ones((5, 1))}, 1e-7)
    found = linearization_gap(part)
    assert found.gap.value == 0
    assert found.gap.high > 1
    assert decide(found.gap, exactly(1.0)).regime == "undecided"


# Labels


def test_label_energy_finds_labels_that_the_kernel_holds_and_no_others():
    x = RNG.normal(size=(40, 3))
    k = (x @ x.T)[:, :, None, None]
    fits = label_fit(snapshot(k), Labels(x[:, :1], "mse"))
    assert fits.p_value <= 0.01
    noise = [
        label_fit(snapshot(k), Labels(RNG.normal(size=(40, 1)), "mse"), seed).p_value
        for seed in range(60)
    ]
    assert np.mean(np.array(noise) <= 0.05) < 0.2
    assert 0.35 < np.mean(noise) < 0.65


@pytest.mark.slow
def test_permuted_labels_fit_the_kernel_in_at_most_a_twentieth_of_all_draws():
    level, n_hits = THRESHOLDS["label_fit_level"].value, {"exact": 0, "sketch": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, 3))
        labels = Labels(rng.permutation(np.tanh(x[:, :1])), "mse")
        k = (np.exp(x @ x.T / 3))[:, :, None, None]
        n_hits["exact"] += label_fit(snapshot(k), labels, seed).p_value <= level
        h = np.eye(40) - 1 / 40
        rows = permuted(labels, 16, seed)[:, :, 0]
        energies = np.einsum("bi,ij,bj->b", rows, h @ k[:, :, 0, 0] @ h, rows)
        n_hits["sketch"] += against(float(energies[0]), energies[1:]).p_value <= level
    assert max(n_hits.values()) <= 10, n_hits


def test_constant_labels_fit_by_chance():
    k, _ = kernel()
    assert label_fit(snapshot(k), Labels(np.ones((12, 1)), "mse")).p_value == 1


@pytest.mark.parametrize(
    "given, c, loss, message",
    [
        ([0.5, 1.0, 0.0], 2, None, "wanted classes"),
        ([0, 1, 2], 2, None, "0 to 1"),
        ([0, 1], 2, None, "2 rows"),
        ([0, 1, 1], 2, "mse", "one-hot"),
        ([[0.2, 0.8]] * 3, 2, "cross_entropy", "not one-hot"),
        ([0.0, 1.0, 1.0], 1, "cross_entropy", "one output"),
        ([[1.0, 2.0, 3.0]] * 3, 2, None, r"\(3, 2\)"),
        ([np.nan, 1.0, 1.0], 1, None, "NaN"),
        (["a", "b", "c"], 1, None, "not an array of numbers"),
        ([0, 1, 1], 2, "hinge", "hinge"),
    ],
)
def test_labels_of_another_loss_or_form_are_refused(given, c, loss, message, unchecked):
    with pytest.raises(InputError, match=message):
        read_labels(given, c, 3, loss)


# Logits, decay, features


def test_logits_in_closed_form():
    labels = Labels(np.eye(3), "cross_entropy")
    found = logits_of(30 * np.eye(3), labels)
    assert found.scale == pytest.approx(30 * np.sqrt(2 / 9))
    assert found.zero_losses == 1
    assert logits_of(np.zeros((3, 3)), labels).saturated == 0


def test_decay_takes_the_norm_to_where_it_says():
    steps = decay_steps(4.0, 1.0, learning_rate=0.01, weight_decay=0.5)
    assert 4.0 * (1 - 0.01 * 0.5) ** steps == pytest.approx(1.0, rel=0.01)
    assert decay_steps(4.0, 1.0, learning_rate=0.01, weight_decay=0.0) == math.inf
    assert decay_steps(1.0, 4.0, learning_rate=0.01, weight_decay=1.0) == 0


def test_the_last_layer_fitted_anew_is_ridge_regression():
    phi, weights = RNG.normal(size=(40, 5)), RNG.normal(size=(5, 1))
    labels = Labels(phi @ weights + 3.0, "mse")
    other = RNG.normal(size=(10, 5))
    assert refit_error(phi, labels) < 1e-6
    assert refit_error(phi, labels, other, Labels(other @ weights + 3.0, "mse")) < 1e-6
    noise = Labels(RNG.normal(size=(40, 1)), "mse")
    assert refit_error(phi, noise) > 0.8


# Advice


def evidence(**changes):
    """A fitted network whose test rows are not predicted, and whose kernel has kept still."""
    k, _ = kernel()
    y = RNG.normal(size=(12, 1))
    y_test = RNG.normal(size=(6, 1))
    start = Snapshot(np.zeros((12, 1)), kernel=k, test_outputs=np.zeros((6, 1)))
    now = Snapshot(y, kernel=k, test_outputs=np.zeros((6, 1)))
    base = Evidence(
        now=now,
        start=start,
        linear=LinearPart(start.outputs, now.outputs, {"jvp": y}, 1e-16),
        groups={"w": GroupChange(1.0, 1.0, 0.1)},
        labels=Labels(y, "mse"),
        test_labels=Labels(y_test, "mse"),
    )
    return replace(base, **changes)


def causes(one):
    return [advice.cause for advice in diagnosis_of(one, {}).advice]


def test_a_lazy_network_that_is_late_is_told_so():
    assert causes(evidence()) == ["lazy training"]


def test_large_initial_outputs_come_first():
    base = evidence()
    start = replace(base.start, outputs=50 * np.ones((12, 1)))
    large = replace(base, start=start)
    assert causes(large) == ["large initial outputs", "lazy training"]


def test_a_long_parameter_vector_is_a_matter_of_decay():
    k, _ = kernel(seed=5)
    base = evidence()
    linear = replace(base.linear, slopes={"jvp": 0 * base.labels.values})
    late = replace(
        base,
        now=replace(base.now, kernel=k),
        linear=linear,
        groups={"w": GroupChange(1.0, 3.0, 2.5)},
        optimization=Optimization(0.01, 0.1),
    )
    [advice] = diagnosis_of(late, {}).advice
    assert advice.cause == "a parameter norm that is larger than needed"
    assert "steps" not in advice.predicted_effect  # the law predicts their number badly


def test_logits_that_grow_are_told():
    y = np.eye(3)[np.arange(12) % 3]
    base = evidence(labels=Labels(y, "cross_entropy"), test_labels=None)
    k, _ = kernel(c=3, p=40)
    collapsed = replace(
        base,
        now=Snapshot(80 * y, kernel=k),
        start=Snapshot(0.1 * y, kernel=k),
        linear=LinearPart(0.1 * y, 80 * y, {"jvp": 0 * y}, 1e-16),
    )
    assert "logits that grow" in causes(collapsed)


def test_nothing_is_advised_where_nothing_is_late():
    base = evidence()
    now = replace(base.now, test_outputs=base.test_labels.values)
    assert diagnosis_of(replace(base, now=now), {}).advice == ()


def test_no_verdict_by_accident():
    base = evidence()
    still = {"w": GroupChange(1.0, 1.0, 0.0)}
    cases = {
        "one checkpoint": replace(base, start=None, linear=None),
        "identical": replace(base, groups=still),
        "no output": replace(base, linear=replace(base.linear, now=base.linear.start)),
        "hardly fallen": replace(base, now=replace(base.now, outputs=base.start.outputs)),
    }
    for words, one in cases.items():
        found = diagnosis_of(one, {})
        assert found.regime == "undecided", words
        assert words in found.reason
        assert str(found).startswith("Undecided.")
    assert measure(cases["one checkpoint"]).fit.error < 1e-12


# Schedule


def test_steps_are_one_two_five():
    steps, at = [], -1
    for _ in range(9):
        at = next_scheduled(at)
        steps.append(at)
    assert steps == [0, 1, 2, 5, 10, 20, 50, 100, 200]


def test_a_reference_that_took_the_share_leaves_nothing_for_a_measurement():
    now = [0.0]
    throttle = Throttle(0.02, clock=lambda: now[0])
    throttle.referenced(0.1)
    for step in range(1, 1001):  # of 10 ms each
        now[0] += 0.01
        if throttle.is_due(step):
            throttle.measured(step, 0.09)
    assert throttle.spent <= 0.02 * throttle.run_time
    now[0] += 5.0
    assert throttle.is_due(1001)


def test_a_throttle_keeps_its_share_and_makes_up_for_what_was_put_off():
    now = [0.0]
    throttle = Throttle(0.02, clock=lambda: now[0])
    n_measured = 0
    for step in range(1, 20_001):
        now[0] += 0.01
        if throttle.is_due(step):
            now[0] += 0.3
            throttle.measured(step, 0.3)
            n_measured += 1
    assert n_measured >= 5
    assert throttle.spent <= 0.02 * throttle.run_time + 0.3
    other = Throttle(0.02, clock=lambda: now[0])
    other.resume(throttle.state())
    assert other.run_time == pytest.approx(throttle.run_time)
    assert other.due_step == throttle.due_step


@pytest.mark.parametrize("share", [0, -1, 2, "all", True, math.nan])
def test_a_share_that_is_none_is_refused(share, unchecked):
    with pytest.raises(InputError, match="share"):
        Throttle(share)
