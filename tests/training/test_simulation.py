"""Oracle: (1 − r)^t, a simulation of the user's own; runs that were never interrupted."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError, Status
from lazyrich.models import CommitteeNet, Net
from lazyrich.sweeps import fill, grid, sweep
from lazyrich.tasks import PolynomialTask
from lazyrich.training import (
    CommitteeExperiment,
    Description,
    Experiment,
    GradientDescent,
    Inputs,
    Program,
    Simulation,
    train,
    train_many,
)


class Decay(Simulation):
    rate: float = 0.5
    n_steps: int = 6

    @property
    def schedule(self):
        return np.array([0, 1, self.n_steps])

    def static_key(self):
        return "decay"

    def sample(self, drawn):
        return Inputs(data=None, params0=jnp.ones(2), hyper=jnp.asarray(self.rate))

    @classmethod
    def compile(cls, static_key):
        return Program(
            init=lambda inputs: (None, inputs.params0),
            advance=lambda inputs, constants, x, first, n: x * (1 - inputs.hyper) ** n,
            measure=lambda inputs, constants, x, step: ({"train_loss": x.sum()}, x),
        )


NETWORK = Experiment(
    task=PolynomialTask(dim=3, n_train=8, n_test=8),
    net=CommitteeNet(width=4, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=3,
)
SMALL = CommitteeExperiment(
    dim=4, width=8, n_train=10, epsilon=0.3, learning_rate=0.3, n_steps=40, n_test=20, n_evals=8
)
FLOW = SMALL.changed({"dynamics": "flow", "learning_rate": 1.0, "n_steps": 30})


def expected(one):
    return 2 * (1 - one.rate) ** one.schedule


@pytest.mark.parametrize("mode", ["loop", "threads", "vmap", "auto"])
def test_a_simulation_of_ones_own_runs_in_every_mode(mode):
    runs = [Decay(rate=rate) for rate in (0.1, 0.25, 0.5)]
    for one, found in zip(runs, train_many(runs, mode=mode), strict=True):
        np.testing.assert_allclose(found.train_loss, expected(one), rtol=1e-12)
        np.testing.assert_allclose(found.params, expected(one)[-1] / 2 * np.ones(2), rtol=1e-12)
        assert found.status is Status.ok


def test_it_is_measured_as_one_likes_and_ends_where_it_diverges():
    found = train(Decay(), metrics={"pair": lambda x: 3 * x})
    np.testing.assert_allclose(found.records["pair"].values[:, 0], 1.5 * expected(Decay()))
    wild = train(Decay(rate=1e200, n_steps=3))
    assert wild.status is Status.diverged
    with pytest.raises(InputError, match="train_loss has the name of a built-in"):
        train(Decay(), metrics={"train_loss": lambda x: x})


class Cut(Exception):
    pass


def cut_after(n_reports):
    reports = []

    def cut(progress):
        reports.append(progress)
        if len(reports) == n_reports:
            raise Cut

    return cut


@pytest.mark.parametrize(
    "one, n_reports",
    [
        (Decay(rate=0.5), 3),  # powers of two are exact
        (SMALL.changed({"momentum": 0.5}), 4),
        pytest.param(SMALL.changed({"has_split": True}), 4, marks=pytest.mark.slow),
        (FLOW.changed({"n_probe": 10}), 4),
        pytest.param(FLOW.changed({"has_split": True}), 3, marks=pytest.mark.slow),
    ],
    ids=["own", "descent", "split descent", "flow", "split flow"],
)
def test_every_simulation_goes_on_exactly_where_it_was(tmp_path, one, n_reports):
    path = tmp_path / "run.npz"
    whole = train(one)
    kept = {"checkpoint": path, "checkpoint_seconds": 0.0}
    with pytest.raises(Cut):
        train(one, progress=cut_after(n_reports), **kept)
    assert path.exists()
    resumed, again = train(one, **kept), train(one, **kept)
    for found in (resumed, again):
        assert found.records.keys() == whole.records.keys()
        assert found.status is whole.status
        for name, record in whole.records.items():
            np.testing.assert_array_equal(found.records[name].values, record.values, err_msg=name)
        for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(whole.params), strict=True):
            np.testing.assert_array_equal(a, b)


def test_metrics_of_ones_own_see_a_committee_machine():
    def trace(now):
        return jnp.trace(now.statistics.second_moment)

    found = train(SMALL, metrics={"trace": trace})
    norm = found.records["weight_norm"].values
    np.testing.assert_allclose(found.records["trace"].values * 8, norm**2, rtol=1e-5)
    assert found.records["trace"].unit == "dimensionless"


def test_a_sweep_mixes_all_kinds(tmp_path):
    decays = grid(Decay(), {"rate": [0.1, 0.5]})
    mixed = [*decays, NETWORK, FLOW]
    found = fill(mixed, store=tmp_path, progress=False)
    assert [one.status for one in found] == ["ok"] * 4
    for one, outcome in zip(decays, found, strict=False):
        np.testing.assert_allclose(outcome.records["train_loss"].values, expected(one))
    for one, outcome in zip(mixed[2:], found[2:], strict=True):
        alone = train(one).train_loss
        np.testing.assert_array_equal(outcome.records["train_loss"].values, alone)
    dataset = sweep(mixed, store=tmp_path, progress=False)
    assert int((dataset.status == "ok").sum()) == 4


def test_units_and_axes_come_from_the_simulation():
    class Named(Decay):
        def describe(self, params):
            return {"train_loss": Description("steps")}

    assert train(Named()).records["train_loss"].unit == "steps"


def test_a_network_of_ones_own_has_dynamic_hyperparameters_of_its_own():
    class Power(Net):
        dynamic_hyperparameters = ("power",)
        kind: Literal["power"] = "power"
        power: float = 1.0

        def init(self, key, *, n_inputs, n_outputs, vocabulary=None, weight_scale=1.0):
            return weight_scale * jax.random.normal(key, (n_inputs,))

        def predictor(self, power=1.0):  # ty: ignore[incompatible-method-override]
            return lambda params, x: (x @ params) * power

    class Powered(Experiment):
        net: Power  # ty: ignore[incompatible-attribute-override]

    one = Powered(
        task=NETWORK.task, net=Power(), optimizer=NETWORK.optimizer, n_steps=3, metrics=()
    )
    found = train_many([one, one.changed({"power": 2.0}), one.changed({"alpha": 2.0})], mode="vmap")
    # At a rate that follows 1/α², a factor inside moves the outputs four times as far.
    assert found[1].train_loss[1] != found[2].train_loss[1]
    by_hand = one.changed({"power": 2.0, "learning_rate": 0.25})
    np.testing.assert_allclose(train(by_hand).train_loss, found[2].train_loss, rtol=1e-5)
