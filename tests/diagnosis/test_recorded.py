"""Oracle: laws, bounds from records enclose what outputs and kernels themselves give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.diagnosis import (
    Labels,
    RunRecords,
    cosine_bounds,
    diagnose_records,
    fitted_at,
    gap_bounds,
)

FALL = np.array([1.0, 0.3, 0.001])
STEPS = np.array([0, 10, 100])


def records(**curves):
    known = {"train_loss": FALL, "test_loss": FALL} | curves
    return RunRecords(STEPS, known, centered_share=1.0)


def linearized(curve):
    return {"linearized_train_loss": curve, "linearized_test_loss": curve}


@given(st.integers(0, 10_000), st.floats(0.01, 3.0))
def test_bounds_enclose_the_cosine_of_random_kernels(seed, size):
    rng = np.random.default_rng(seed)
    n = 6
    h = np.eye(n) - 1 / n
    first = rng.normal(size=(n, 8))
    second = first + size * rng.normal(size=(n, 8))
    k0, k, y = first @ first.T, second @ second.T, h @ rng.normal(size=(n, 1))
    c0, c, target = h @ k0 @ h, h @ k @ h, y @ y.T

    def cosine(a, b):
        return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)

    distance = np.linalg.norm(k - k0) / np.linalg.norm(k0)
    run = RunRecords(
        STEPS[:2],
        {
            "train_loss": FALL[:2],
            "test_loss": FALL[:2],
            "kernel_distance": np.array([0.0, distance]),
            "centered_alignment": np.array([cosine(c0, target), cosine(c, target)]),
        },
        centered_share=float(np.linalg.norm(c0) / np.linalg.norm(k0)),
    )
    found = cosine_bounds(run, 1)
    assert found.low - 1e-9 <= cosine(c, c0) <= found.high + 1e-9


@given(st.integers(0, 10_000), st.floats(0.01, 3.0))
def test_the_lower_end_is_at_most_the_distance_of_random_outputs(seed, size):
    rng = np.random.default_rng(seed)
    y, start = rng.normal(size=(2, 12))
    now = y + size * rng.normal(size=12)
    other = now + size * rng.normal(size=12)
    network, twin = (
        np.array([((start - y) ** 2).mean(), ((one - y) ** 2).mean()]) for one in (now, other)
    )
    run = RunRecords(STEPS[:2], {"train_loss": network, "test_loss": network, **linearized(twin)})
    true = np.linalg.norm(now - other) / np.linalg.norm(now - start)
    assert gap_bounds(run, 1).low <= true + 1e-9


CASES = {
    "lazy by bounds": (
        linearized(FALL) | {"kernel_distance": 0.001 * STEPS / 10},
        "lazy",
        "misses 0 of",
    ),
    "in between by bounds": (
        linearized(np.array([1.0, 0.6, 0.5])) | {"kernel_distance": 0.001 * STEPS / 10},
        "in between",
        "misses 0.6",
    ),
    "rich as recorded": (
        {"linearization_gap": 0.009 * STEPS, "kernel_cosine": 1 - 0.005 * STEPS},
        "rich",
        "misses 0.9",
    ),
    "bounds that decide nothing": (
        linearized(FALL) | {"centered_alignment": np.array([0.5, 0.5, 0.5])},
        "undecided",
        "leave it open",
    ),
    "no linearized network": ({"kernel_distance": 0.0 * STEPS}, "undecided", "linearization gap"),
    "no kernel": (linearized(FALL), "undecided", "kernel's cosine or distance"),
    "nothing": ({}, "undecided", "record the metric linearization"),
    "a run that diverged": (
        {"train_loss": np.array([1.0, 50.0, np.nan]), "linearization_gap": 0.0 * STEPS},
        "undecided",
        "diverged",
    ),
    "parameters that stayed": ({"parameter_change": 0.0 * STEPS}, "undecided", "not changed"),
    "a loss that stayed": (
        {
            "train_loss": np.full(3, 0.99) + 0.01 * (STEPS == 0),
            "linearization_gap": 0.0 * STEPS,
            "kernel_cosine": 1.0 + 0.0 * STEPS,
        },
        "undecided",
        "hardly fallen",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_that_of_the_records(case):
    curves, regime, said = CASES[case]
    found = diagnose_records(records(**curves))
    assert found.regime == regime
    assert said in found.reason


def test_under_cross_entropy_losses_bound_nothing():
    labels = Labels(np.eye(2), "cross_entropy")
    curves = {"train_loss": FALL, "test_loss": FALL, "kernel_distance": 0.0 * STEPS}
    found = diagnose_records(RunRecords(STEPS, curves | linearized(FALL), labels, labels))
    assert found.regime == "undecided"
    assert "cross-entropy" in found.reason


def test_the_fit_is_relative_to_chance_and_comes_before_the_end():
    run = records(linearization_gap=0.009 * STEPS, kernel_cosine=1 - 0.005 * STEPS)
    assert fitted_at(run) == 2
    early = RunRecords(
        STEPS, {"train_loss": FALL, "test_loss": FALL}, Labels(np.array([[9.0], [-9]]), "mse")
    )
    assert fitted_at(early) == 0
    never = RunRecords(STEPS, {"train_loss": 1 + FALL, "test_loss": FALL})
    assert diagnose_records(never, "fit").reason == (
        "The training rows are fitted at no evaluation."
    )


@pytest.mark.parametrize(
    "curves, said",
    [
        ({"train_loss": FALL}, "no test_loss"),
        ({"train_loss": FALL[:2], "test_loss": FALL}, "shape"),
    ],
)
def test_what_is_no_run_is_refused(curves, said, unchecked):
    with pytest.raises(InputError, match=said):
        RunRecords(STEPS, curves)
    with pytest.raises(InputError, match="'end' or 'fit'"):
        diagnose_records(records(), "start")
