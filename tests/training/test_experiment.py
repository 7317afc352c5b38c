"""Oracle: the sentences that bad settings are answered with; JSON and back is the identity."""

import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.models import CommitteeNet, MLPNet, TransformerNet
from lazyrich.tasks import ModularTask, PolynomialTask
from lazyrich.training import (
    AdamW,
    Alignment,
    Experiment,
    GradientDescent,
    Hyperparameters,
    Scaling,
    Stop,
    Terms,
    WeightNorm,
)

BASE = Experiment(
    task=PolynomialTask(dim=5, n_train=20, n_test=10),
    net=CommitteeNet(width=8, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=10,
)
MODULAR = ModularTask(modulus=5, fraction=0.5)


def test_json_and_back_is_the_same_experiment_and_the_same_hash():
    one = BASE.model_copy(update={"metrics": (Alignment(n_points=7), WeightNorm())})
    again = Experiment.from_json(one.model_dump_json())
    assert again == one
    assert hash(again) == hash(one)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "cross_entropy"}, "cross_entropy needs classes"),
        ({"optimizer.batch_size": 21}, "batch_size is 21 and there are 20 training points"),
        ({"scaling.alpha": -1.0}, r"scaling\.alpha: alpha is -1\.0, wanted greater than 0|"),
        ({"scaling.alhpa": 1.0}, r"scaling\.alhpa is not a field \(did you mean scaling\.alpha"),
        ({"stop": Stop(solved_accuracy=0.9)}, "solved_accuracy needs classes"),
        ({"stop.solved_train_accuracy": 0.9}, "give both, or neither"),
        ({"eval_steps": (0, 11)}, "eval_steps ends at 11, after n_steps 10"),
        ({"eval_steps": (3, 1)}, "whole numbers from 0 that increase"),
        ({"task.kind": "modulr"}, r"task\.kind is 'modulr', wanted one of"),
        ({"metrics": (Alignment(n_points=11),)}, "asks for 11 test points and there are 10"),
        ({"metrics": (WeightNorm(), WeightNorm())}, "repeat one"),
        ({"net": MLPNet(), "metrics": (Terms(),)}, "the metric terms holds for the committee"),
        ({"net": TransformerNet()}, "gives vectors and the net transformer takes tokens"),
        ({"task": MODULAR}, "one number"),
        ({"n_steps": 0, "seed": -1}, "n_steps is 0.*seed is -1"),
    ],
)
def test_settings_that_do_not_go_together_get_a_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        BASE.changed(changes)


def test_more_settings_that_do_not_go_together():
    with pytest.raises(InputError, match="n_heads 4 does not divide d_model 10"):
        TransformerNet(d_model=10)
    with pytest.raises(InputError, match="label_scale must be 1"):
        Experiment(
            task=MODULAR,
            net=MLPNet(),
            optimizer=AdamW(learning_rate=1e-3, weight_decay=1.0),
            loss="cross_entropy",
            scaling=Scaling(label_scale=2.0),
            n_steps=1,
        )
    with pytest.raises(InputError, match="at least one for training and one for testing"):
        ModularTask(modulus=5, fraction=0.99)


def test_neutral_rules_are_the_defaults():
    assert GradientDescent(learning_rate=1.0).learning_rate_rule == "inverse_square"
    assert AdamW(learning_rate=1.0, weight_decay=0.0).learning_rate_rule == "inverse"


@pytest.mark.parametrize("rule", ["inverse_square", "inverse", "fixed"])
@pytest.mark.parametrize("matched", [True, False])
def test_rate_and_decay_are_those_of_a_step(rule, matched):
    optimizer = AdamW(
        learning_rate=0.1, weight_decay=0.5, learning_rate_rule=rule, matched_decay=matched
    )
    step = optimizer.transformation(Hyperparameters(3.0, 1.0, None, optimizer))
    params = {"still": jnp.array(2.0), "moved": jnp.array(0.0)}
    update, _ = step.update(
        {"still": jnp.array(0.0), "moved": jnp.array(1e9)}, step.init(params), params
    )
    rate, decay = optimizer.rate_and_decay(3.0)
    np.testing.assert_allclose(-update["moved"], rate, rtol=1e-6)
    np.testing.assert_allclose(-update["still"], 2 * rate * decay, rtol=1e-6)


def test_the_plan_is_dense_at_the_start():
    plan = BASE.changed({"n_steps": 10_000}).schedule
    assert plan[:5].tolist() == [0, 1, 2, 3, 4]
    assert plan[-1] == 10_000
    assert len(plan) <= 100
    given = BASE.model_copy(update={"eval_steps": (3, 5)})
    assert given.schedule.tolist() == [0, 3, 5, BASE.n_steps]


def test_a_run_can_wait_for_its_train_accuracy():
    start = {"train_loss": np.array(1.0), "test_loss": np.array(1.0)}
    stop, patient = (
        Stop(solved_accuracy=0.95, solved_train_accuracy=train) for train in (None, 0.99)
    )
    for train, test, wanted in [
        (0.5, 0.96, (True, False)),
        (0.99, 0.96, (True, True)),
        (1.0, 0.9, (False, False)),
    ]:
        now = start | {"train_accuracy": np.array(train), "test_accuracy": np.array(test)}
        assert (stop.is_solved(start, now), patient.is_solved(start, now)) == wanted
