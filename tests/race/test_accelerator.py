"""Oracle: the same trials one after another; the race of the default edition."""

import jax
import numpy as np

from lazyrich.race import default_edition, full_edition, run_trials, smoke_edition, tuning_trials
from lazyrich.race._rows import row_of
from lazyrich.sweeps import fill

TASK = "addition_mlp"


def trials():
    edition, settings = smoke_edition(), {"optimizer.learning_rate": 0.01}
    settings["optimizer.weight_decay"] = 0.1
    return [edition.trial(TASK, "grokfast", settings, seed=seed) for seed in range(3)]


def test_trials_in_a_batch_are_those_of_a_loop(monkeypatch):
    alone = list(run_trials(trials()))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    together = list(run_trials(trials()))
    for one, other in zip(alone, together, strict=True):
        assert one.status == other.status
        np.testing.assert_array_equal(one.steps, other.steps)
        for name, record in one.records.items():
            np.testing.assert_allclose(
                record.values, other.records[name].values, rtol=1e-4, atol=1e-5, err_msg=name
            )


def test_a_trial_of_a_batch_has_no_seconds_of_its_own():
    edition = smoke_edition()
    planned = tuning_trials(edition, TASK, "adamw")[0]
    run = {"store": "memory://race-seconds", "progress": False, "run": run_trials}
    (outcome,) = fill([planned.trial], **run)
    assert row_of(planned, outcome, edition)["wall_seconds"] > 0
    batched = outcome._replace(machine=outcome.machine | {"device": "gpu (NVIDIA H100)"})
    assert row_of(planned, batched, edition)["wall_seconds"] is None


def test_the_race_of_full_size_differs_in_its_tasks_alone():
    full, small = full_edition(), default_edition()
    full.require_trials()
    assert full.hash != small.hash
    assert (full.rules, full.space, full.arm) == (small.rules, small.space, small.arm)
    assert set(full.task) - {"images"} < set(small.task)
    for name in set(full.task) & set(small.task):
        moduli = [one.task[name].experiment["task"]["modulus"] for one in (full, small)]
        assert moduli[0] > moduli[1]
