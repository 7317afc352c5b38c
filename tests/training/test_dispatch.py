"""Oracle: the two engines called one by one; sentences for what neither can take."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.models import CommitteeNet
from lazyrich.tasks import PolynomialTask
from lazyrich.training import (
    METRICS,
    CommitteeExperiment,
    Experiment,
    GradientDescent,
    Terms,
    _dispatch,
    experiment_from_json,
    train,
    train_committee,
    train_many,
)

STEPPED = Experiment(
    task=PolynomialTask(dim=5, n_train=20, n_test=20),
    net=CommitteeNet(width=8, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=4,
    n_evals=3,
)
EXACT = CommitteeExperiment(dim=5, width=8, n_train=20, n_steps=4, n_test=20, n_evals=3)


def loss(now):
    return jnp.square(now.outputs).mean()


def test_both_kinds_go_through_one_call_in_their_order():
    told = []
    mixed = [STEPPED, EXACT, STEPPED.changed({"seed": 1})]
    found = train_many(mixed, mode="loop", on_finished=lambda k, history: told.append(k))
    assert [history.experiment for history in found] == mixed
    assert sorted(told) == [0, 1, 2]
    [exact] = train_committee([EXACT])
    np.testing.assert_array_equal(found[1].test_loss, exact.test_loss)
    np.testing.assert_array_equal(found[0].test_loss, train(STEPPED).test_loss)


def test_an_exact_run_tells_its_listeners():
    logged, told = [], []
    history = train(EXACT, log=lambda seen, step: logged.append(step), progress=told.append)
    assert logged == history.steps.tolist()
    assert told[-1].n_done == told[-1].n_steps == 4


@pytest.mark.parametrize("one", [STEPPED, EXACT], ids=["stepped", "exact"])
def test_json_says_which_kind_it_is(one):
    assert experiment_from_json(one.model_dump_json()) == one


@pytest.mark.parametrize("kind", METRICS)
def test_metrics_name_all_that_they_record(kind):
    of_kernels = ("kernel_movement", "alignment", "linearization")
    metric = {"n_points": 8} if kind in of_kernels else {}
    plain = train(STEPPED.changed({"metrics": []})).records
    found = train(STEPPED.changed({"metrics": [{"kind": kind, **metric}]})).records
    own = {name for name in found.keys() - plain.keys() if not name.startswith("linearized_")}
    assert own == set(METRICS[kind].names)


@pytest.mark.parametrize(
    "name",
    ["train_loss", "test_accuracy", "linearized_test_loss", "alignment", "weight_norms", "step"],
)
def test_names_of_records_are_taken(name):
    for call in (
        lambda: train(STEPPED, metrics={name: loss}),
        lambda: train_many([STEPPED], metrics={name: loss}),
    ):
        with pytest.raises(InputError, match=f"The metric {name} has the name of a built-in"):
            call()


class _Pairs(dict):
    def items(self):
        return [("mine", loss), ("mine", loss)]


@pytest.mark.parametrize(
    "metrics, words",
    [
        (_Pairs(), "Two metrics are named mine"),
        ({"": loss}, "give a word"),
        ({"a/b": loss}, "without a slash"),
        ({3: loss}, "A metric is named 3"),
        ({"mine": 3}, "give a function"),
        ([("mine", loss)], "give a mapping"),
    ],
)
def test_metrics_that_are_none_are_refused(metrics, words, unchecked):
    with pytest.raises(InputError, match=words):
        train(STEPPED, metrics=metrics)


def test_a_run_goes_on_with_the_metrics_it_began_with(tmp_path):
    path = tmp_path / "run.npz"
    first = train(STEPPED, checkpoint=path, metrics={"mine": loss})
    again = train(STEPPED, checkpoint=path, metrics={"mine": loss})
    np.testing.assert_array_equal(first.records["mine"].values, again.records["mine"].values)
    for metrics in (None, {"other": loss}):
        with pytest.raises(InputError, match="has records of the metrics"):
            train(STEPPED, checkpoint=path, metrics=metrics)


def test_a_folder_is_no_checkpoint_and_stays_where_it_is(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="not a file"):
        train(STEPPED, checkpoint=folder)
    many = tmp_path / "many"
    (many / "1.npz").mkdir(parents=True)
    with pytest.raises(InputError, match="not a file"):
        train_many([STEPPED, STEPPED.changed({"seed": 1})], checkpoints=many)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "many",
        "many/1.npz",
        "results",
        "results/mine.txt",
    ]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: train("polynomial"), r'preset\("polynomial"\)'),
        (lambda: train([STEPPED]), "use train_many"),
        (lambda: train(STEPPED.task), "give an Experiment"),
        (lambda: train_many(STEPPED), "give a list"),
        (lambda: train_many("polynomial"), "give a list"),
        (lambda: train_many(3), "give a list"),
        (lambda: train_many(["polynomial"]), r'preset\("polynomial"\)'),
        (lambda: train_committee([STEPPED]), "use train_many"),
        (lambda: experiment_from_json(json.dumps([1])), "not an object"),
    ],
)
def test_what_is_no_experiment_gets_a_sentence(call, words, unchecked):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("name", ["task.label_scale", "scaling.label_scale"])
def test_the_terms_know_the_label_scale(name):
    """Doubled labels of a net that begins at zero: four times each term, to rounding."""
    base = STEPPED.changed({"metrics": [{"kind": "terms"}]})
    plain, doubled = train(base), train(base.changed({name: 2.0}))
    for terms, factor in ((plain, 1.0), (doubled, 4.0)):
        total = sum(terms.records[term].values[0] for term in Terms.names)
        at_zero = sum(plain.records[term].values[0] for term in Terms.names)
        assert total == pytest.approx(factor * at_zero, rel=1e-5)
    assert doubled.test_loss[0] == pytest.approx(4 * plain.test_loss[0], rel=1e-5)


def test_the_ways_to_compute_are_timed_in_the_precision_of_the_runs(monkeypatch):
    # Threads that time a run in single precision would warn that float64 is cut off.
    monkeypatch.setattr(_dispatch, "_WORTH_MEASURING", 0.0)
    monkeypatch.setattr(_dispatch, "_WORTH_COMPILING", 0.0)
    monkeypatch.setattr(_dispatch, "n_threads", lambda: 2)
    runs = [STEPPED.changed({"precision": "float64", "seed": seed}) for seed in range(2)]
    is_double = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", False)  # for all threads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = train_many(runs, mode="auto")
    finally:
        jax.config.update("jax_enable_x64", is_double)
    assert [history.train_loss.dtype for history in found] == [np.float64] * 2


@pytest.mark.parametrize(
    "changes, worth, n_batches",
    [
        ({}, (0.0, 0.0), 1),
        ({}, (1e6, 0.0), 0),  # seconds of work
        ({}, (0.0, 1e6), 0),  # times what compiling one run took
        ({"stop.solved_loss": 1e-9}, (0.0, 0.0), 0),
    ],
)
def test_a_batch_is_compiled_only_where_it_can_pay(monkeypatch, changes, worth, n_batches):
    monkeypatch.setattr(_dispatch, "_WORTH_MEASURING", worth[0])
    monkeypatch.setattr(_dispatch, "_WORTH_COMPILING", worth[1])
    layouts, make = [], _dispatch.batch_of

    def made(simulation, inputs, metrics):
        layouts.append(len(inputs))
        return make(simulation, inputs, metrics)

    monkeypatch.setattr(_dispatch, "batch_of", made)
    runs = [STEPPED.changed({"seed": seed, **changes}) for seed in range(3)]
    train_many(runs)
    assert layouts.count(3) == n_batches
