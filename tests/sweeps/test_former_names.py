"""Oracle: files that the version before the change of names wrote, and a run of today."""

import logging
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lazyrich.sweeps import count_stored, find, open_dataset, sweep
from lazyrich.training import CommitteeExperiment, Experiment, train

FORMER = Path(__file__).parents[1] / "data" / "former"


class OwnExperiment(Experiment):
    """As the pages show for a net of one's own."""

    __module__ = "mine"


class OwnCommittee(CommitteeExperiment):
    """A committee machine with a setting of its own."""

    __module__ = "mine"
    note: int = 0


NETWORK = {
    "task": {"kind": "polynomial", "dim": 3, "n_train": 4, "n_test": 5},
    "net": {"kind": "committee", "width": 5, "epsilon": 0.5},
    "optimizer": {"kind": "gradient_descent", "learning_rate": 1.0},
    "n_steps": 4,
    "n_evals": 3,
    "linearized": True,
}
COMMITTEE = {
    "dim": 3,
    "width": 5,
    "n_train": 4,
    "alpha": 1.0,
    "epsilon": 0.5,
    "learning_rate": 1.0,
    "n_steps": 4,
    "n_evals": 3,
    "n_test": 5,
    "n_probe": 4,
    "linearized": True,
    "has_split": True,
}
EXPERIMENTS = [
    Experiment(**NETWORK),
    OwnExperiment(**NETWORK, metrics=[{"kind": "weight_norm"}]),
    CommitteeExperiment(**COMMITTEE),
    OwnCommittee(**COMMITTEE),
]
NAMES = [type(one).__name__ for one in EXPERIMENTS]


today = cache(train)


def never(experiments, **_):
    raise AssertionError(f"{len(experiments)} experiments would be computed again")


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_a_stored_experiment_is_found_and_has_the_records_of_today(experiment, tmp_path, caplog):
    store = tmp_path / "store"
    shutil.copytree(FORMER / "store", store)
    assert count_stored([experiment], store) == 1
    found = sweep([experiment], store=store, progress=False, run=never)
    assert today(experiment).records.keys() <= set(found.data_vars)
    for name, record in today(experiment).records.items():
        np.testing.assert_allclose(found[name].values, record.values, rtol=1e-3, atol=1e-3)
    with caplog.at_level(logging.WARNING):
        everything = open_dataset(store)
    assert not caplog.text
    names = {str(name) for name in everything.variables}
    assert not names & {"n_saves", "probes", "has_twin", "save_steps", "save_step"}
    assert not any("twin" in name for name in names)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_a_former_checkpoint_is_read(experiment, tmp_path):
    path = tmp_path / "run.npz"
    shutil.copy(FORMER / f"{type(experiment).__name__}.npz", path)
    kept = train(experiment, checkpoint=path)
    assert kept.records.keys() == today(experiment).records.keys()
    for name, record in today(experiment).records.items():
        np.testing.assert_allclose(kept.records[name].values, record.values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "former, now", [("n_saves=3", "n_evals=3"), ("has_twin = true", "linearized=true")]
)
def test_a_condition_may_name_a_setting_as_before(former, now):
    found, wanted = find(FORMER / "store", [former]), find(FORMER / "store", [now])
    assert [one.key for one in found] == [one.key for one in wanted]
    assert len(found) == 4
