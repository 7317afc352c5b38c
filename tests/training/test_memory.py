"""Oracle: bytes of the largest array counted by hand; np.unique(np.round(np.geomspace(…)))."""

import numpy as np
import pytest

import lazyrich.training._memory as memory
from lazyrich import InputError
from lazyrich.training import (
    CommitteeExperiment,
    log_steps,
    preset,
    require_memory,
    train,
    train_committee,
    train_many,
)

GB = 10**9
EXACT = CommitteeExperiment(dim=10, width=50, n_train=40, n_steps=100)


@pytest.fixture(autouse=True)
def free(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 16 * GB)


@pytest.mark.parametrize(
    "name, changes, setting, at_least",
    [
        ("polynomial", {"width": 10**9}, "net.width", 20 * 10**9 * 4),
        ("polynomial", {"dim": 10**8}, "task.dim", 1120 * 10**8 * 4),
        ("polynomial", {"n_train": 10**8}, "task.n_train", 10**8 * 200 * 4),
        ("polynomial", {"n_test": 10**8}, "task.n_test", 10**8 * 200 * 4),
        ("polynomial", {"n_evals": 10**9, "n_steps": 2 * 10**9}, "n_evals", 10**9 * 8),
        ("polynomial", {"n_directions": 10**8}, "task.n_directions", 10**8 * 20 * 8),
        ("modular", {"net.widths": [10**9]}, "net.widths.0", 46 * 10**9 * 4),
        ("teacher", {"net.widths": [10**6, 10**6]}, "net.widths", 10**12 * 4),
        ("teacher", {"task.widths": [10**6, 10**6]}, "task.widths", 10**12 * 8),
        ("transformer", {"d_mlp": 10**9}, "net.d_mlp", 64 * 10**9 * 8),
        (
            "polynomial",
            {"n_test": 10**5, "metrics": [{"kind": "alignment", "n_points": 10**5}]},
            "metrics.0.n_points",
            10**10 * 4,
        ),
    ],
)
def test_what_cannot_fit_is_refused_with_the_setting_that_makes_it_so(
    name, changes, setting, at_least
):
    one = preset(name).changed(changes)
    assert sum(memory.needs_of(one).values()) > at_least
    for call in (lambda: train(one), lambda: train_many([preset(name), one])):
        with pytest.raises(InputError, match=f"16.0 GB are free; lower {setting}"):
            call()


@pytest.mark.parametrize(
    "changes, setting",
    [
        ({"width": 10**9}, "width"),
        ({"dim": 10**5}, "dim"),
        ({"n_train": 10**6}, "n_train"),
        ({"n_test": 10**6, "n_probe": 10**5}, "n_probe"),
        ({"n_evals": 10**9, "n_steps": 10**9}, "n_evals"),
    ],
)
def test_so_are_exact_runs(changes, setting):
    for call in (lambda one: train(one), lambda one: train_committee([one])):
        with pytest.raises(InputError, match=f"are free; lower {setting} "):
            call(EXACT.changed(changes))


def test_what_is_run_every_day_fits_into_a_tenth_of_a_gigabyte(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: GB // 10)
    names = ("polynomial", "modular", "teacher", "digits", "transformer", "parity")
    require_memory([*map(preset, names), EXACT])


def test_an_allocation_that_fails_all_the_same_is_a_sentence():
    for error in (MemoryError("no"), memory.jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: x")):
        with (
            pytest.raises(InputError, match="more memory than there is"),
            memory.memory_errors_said(),
        ):
            raise error
    with pytest.raises(memory.jax.errors.JaxRuntimeError), memory.memory_errors_said():
        raise memory.jax.errors.JaxRuntimeError("INTERNAL: other")


@pytest.mark.parametrize("n_steps", [1, 2, 7, 50])
@pytest.mark.parametrize("n_evals", [2, 3, 5, 40, 200, 3000])
def test_eval_steps_are_those_of_the_formula(n_steps, n_evals):
    positive = np.geomspace(1, n_steps, n_evals - 1) if n_evals > 2 else [n_steps]
    wanted = np.unique([0, *np.round(positive).astype(int)])
    assert log_steps(n_steps, n_evals).tolist() == wanted.tolist()


def test_more_eval_steps_than_steps_cost_nothing():
    assert log_steps(100, 10**12).tolist() == list(range(101))
