"""Oracle: keys made by hand from the settings as they once were written; the same run twice."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich._base import settings
from lazyrich.models import CommitteeNet
from lazyrich.sweeps import Store, experiment_key, fill, outcome_of
from lazyrich.sweeps.store._codec import decode, encode
from lazyrich.sweeps.store._key import former_keys, present_form
from lazyrich.tasks import PolynomialTask
from lazyrich.training import CommitteeExperiment, Experiment, GradientDescent, preset, train
from lazyrich.training._record_names import RECORDS

ONE = Experiment(
    task=PolynomialTask(dim=3, n_train=8, n_test=8),
    net=CommitteeNet(width=4, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=3,
)
NORM, CHANGE, TWIN = ({"kind": kind} for kind in ("weight_norm", "parameter_change", "twin"))


def settings_of_before(probes):
    """With the former names of three fields, and the label scale in the task."""
    tree = settings(ONE) | {"probes": probes}
    del tree["metrics"]
    tree["n_saves"], tree["save_steps"] = tree.pop("n_evals"), tree.pop("eval_steps")
    task = tree["task"]
    assert isinstance(task, dict)
    task["label_scale"] = 1.0
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def key_of_before(probes):
    """As it was written when the linearized network was one of the probes."""
    config = settings_of_before(probes)
    whole = ["lazyrich.training.Experiment", config, sorted(ONE.numerics.items())]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def test_a_probe_named_twin_is_the_setting():
    for probes in ([TWIN, NORM], [NORM, TWIN], [NORM, {"kind": "linearized"}]):
        named = ONE.changed({"probes": probes})
        assert named == ONE.changed({"metrics": probes})
        assert named == ONE.changed({"metrics": [NORM], "linearized": True})
        assert Experiment.from_json(named.model_dump_json()) == named
    records = train(named).records
    assert {"linearized_train_loss", "linearized_test_loss"} <= records.keys()
    with pytest.raises(InputError, match="linearized network more than once"):
        ONE.changed({"probes": [TWIN, TWIN]})


def test_a_new_list_of_probes_says_anew_whether_it_is_linearized():
    assert preset("polynomial").linearized
    assert not preset("polynomial").changed({"metrics": []}).linearized
    assert ONE.changed({"linearized": True, "metrics": []}).linearized
    assert ONE.changed({"linearized": True}).changed({"seed": 1}).linearized


def test_stored_results_have_their_keys():
    assert experiment_key(ONE) == key_of_before([NORM, CHANGE])
    linearized = ONE.changed({"linearized": True})
    places = [[NORM, CHANGE, TWIN], [NORM, TWIN, CHANGE], [TWIN, NORM, CHANGE]]
    assert experiment_key(linearized) == key_of_before(places[0])
    assert {*former_keys(linearized), experiment_key(linearized)} == {*map(key_of_before, places)}
    assert former_keys(ONE) == []
    kernel = {"kind": "kernel_regression"}
    beside = ONE.changed({"metrics": [NORM, kernel], "linearized": True})
    assert experiment_key(beside) == key_of_before([NORM, TWIN, kernel])


def test_stored_settings_are_read_with_their_present_names():
    now = present_form(json.loads(settings_of_before([NORM, TWIN])))
    assert now == settings(ONE) | {"metrics": [NORM], "linearized": True} | {"task": now["task"]}
    assert present_form(settings(ONE)) == settings(ONE) | {"linearized": False}
    assert present_form({"probes": [TWIN]}) == {"probes": [TWIN]}


def test_what_was_stored_under_a_former_key_is_found_and_not_computed_again(tmp_path):
    linearized = ONE.changed({"linearized": True})
    probes = [NORM, TWIN, CHANGE]
    config = settings_of_before(probes)
    kept = outcome_of(train(linearized))._replace(key=key_of_before(probes), config=config)
    store = Store(tmp_path / "s")
    store.require_writable()
    store.save(kept)

    def refuse(experiments):
        raise AssertionError("it was computed")

    mixed = [linearized, ONE]
    fill([ONE], store=tmp_path / "s", progress=False)
    found = fill(mixed, store=tmp_path / "s", progress=False, run=refuse)
    assert [one.status for one in found] == ["ok", "ok"]
    assert found[0].key == kept.key
    assert "linearized_train_loss" in found[0].records


def test_fields_are_taken_by_their_former_names_and_not_by_both():
    old = {"n_saves": 7, "save_steps": (0, 2), "probes": [NORM]}
    new = {"n_evals": 7, "eval_steps": (0, 2), "metrics": [NORM]}
    assert ONE.changed(old) == ONE.changed(new)
    text = json.dumps(json.loads(settings_of_before([NORM])) | {"n_saves": 7})
    assert Experiment.from_json(text) == ONE.changed({"n_evals": 7, "metrics": [NORM]})
    committee: dict[str, Any] = {"dim": 3, "width": 4, "n_train": 5, "n_steps": 2}
    assert CommitteeExperiment(
        **committee | {"has_twin": False, "n_saves": 9}
    ) == CommitteeExperiment(**committee, linearized=False, n_evals=9)
    with pytest.raises(InputError, match="n_saves and n_evals are both given"):
        CommitteeExperiment(**committee | {"n_saves": 9, "n_evals": 9})


def test_records_are_read_by_their_present_names_from_files():
    linearized = ONE.changed({"linearized": True})
    kept = outcome_of(train(linearized))
    former = {now: old for old, now in Experiment.former_records.items()}
    as_before = {former.get(name, name): record for name, record in kept.records.items()}
    assert "twin_test_loss" in as_before
    read = decode(encode(kept._replace(records=as_before)), kept.key)
    assert read.records.keys() == kept.records.keys()


def test_a_record_with_the_former_name_of_the_steps_is_a_record():
    kept = outcome_of(train(ONE, metrics={"save_step": lambda now: now.hyper.alpha}))
    read = decode(encode(kept), kept.key)
    np.testing.assert_array_equal(read.steps, kept.steps)
    np.testing.assert_array_equal(
        read.records["save_step"].values, kept.records["save_step"].values
    )


def test_every_record_of_the_linearized_network_is_read_by_its_former_name():
    names = {name for name in RECORDS if name.startswith("linearized_")}
    assert names <= set(CommitteeExperiment.former_records.values())
