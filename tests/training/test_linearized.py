"""Oracle: keys made by hand from the settings as they once were written; the same run twice."""

import hashlib
import json

import pytest

from lazyrich import InputError
from lazyrich._base import settings
from lazyrich.models import CommitteeNet
from lazyrich.sweeps import Store, experiment_key, fill, outcome_of
from lazyrich.sweeps.store._key import former_keys, present_form
from lazyrich.tasks import PolynomialTask
from lazyrich.training import Experiment, GradientDescent, Twin, starting_point, train

ONE = Experiment(
    task=PolynomialTask(dim=3, n_train=8, n_test=8),
    net=CommitteeNet(width=4, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=3,
)
NORM, CHANGE, TWIN = ({"kind": kind} for kind in ("weight_norm", "parameter_change", "twin"))


def key_of_before(probes):
    """As it was written when the linearized network was one of the probes."""
    tree = settings(ONE) | {"probes": probes}
    tree["task"]["label_scale"] = 1.0
    config = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    whole = ["lazyrich.training.Experiment", config, sorted(ONE.numerics.items())]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def test_a_probe_named_twin_is_the_setting():
    for probes in ([TWIN, NORM], [NORM, TWIN], [NORM, Twin()]):
        named = ONE.changed({"probes": probes})
        assert named == ONE.changed({"probes": [NORM], "linearized": True})
        assert Experiment.from_json(named.model_dump_json()) == named
    records = train(named).records
    assert {"twin_train_loss", "twin_test_loss"} <= records.keys()
    with pytest.raises(InputError, match="twin more than once"):
        ONE.changed({"probes": [TWIN, TWIN]})


def test_a_new_list_of_probes_says_anew_whether_it_is_linearized():
    assert starting_point("polynomial").linearized
    assert not starting_point("polynomial").changed({"probes": []}).linearized
    assert ONE.changed({"linearized": True, "probes": []}).linearized
    assert ONE.changed({"linearized": True}).changed({"seed": 1}).linearized


def test_stored_results_have_their_keys():
    assert experiment_key(ONE) == key_of_before([NORM, CHANGE])
    linearized = ONE.changed({"linearized": True})
    places = [[NORM, CHANGE, TWIN], [NORM, TWIN, CHANGE], [TWIN, NORM, CHANGE]]
    assert experiment_key(linearized) == key_of_before(places[0])
    assert {*former_keys(linearized), experiment_key(linearized)} == {*map(key_of_before, places)}
    assert former_keys(ONE) == []
    kernel = {"kind": "kernel_regression"}
    beside = ONE.changed({"probes": [NORM, kernel], "linearized": True})
    assert experiment_key(beside) == key_of_before([NORM, TWIN, kernel])


def test_stored_settings_are_read_with_their_present_names():
    tree = settings(ONE) | {"probes": [NORM, TWIN]}
    assert present_form(tree)["probes"] == [NORM]
    assert present_form(tree)["linearized"] is True
    assert present_form(settings(ONE))["linearized"] is False


def test_what_was_stored_under_a_former_key_is_found_and_not_computed_again(tmp_path):
    linearized = ONE.changed({"linearized": True})
    probes = [NORM, TWIN, CHANGE]
    tree = settings(ONE) | {"probes": probes}
    tree["task"]["label_scale"] = 1.0
    config = json.dumps(tree, sort_keys=True, separators=(",", ":"))
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
    assert "twin_train_loss" in found[0].records
