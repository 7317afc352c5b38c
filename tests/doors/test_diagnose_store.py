"""Oracle: the full diagnosis of the final parameters, of which the records know only bounds."""

import json

import numpy as np
import pytest

import lazyrich as lz
from lazyrich import Status, cli, sweeps
from lazyrich.cli._diagnose_store import _print
from lazyrich.cli._stored_runs import records_of
from lazyrich.diagnosis import diagnose_records
from lazyrich.models import CommitteeNet, MLPNet
from lazyrich.tasks import PolynomialTask
from lazyrich.training import (
    CommitteeExperiment,
    Experiment,
    GradientDescent,
    History,
    Linearization,
    ParameterChange,
    Record,
    WeightNorm,
)

METRICS = (WeightNorm(), ParameterChange(), Linearization(n_points=40, points="train"))
TASK = PolynomialTask(dim=5, n_train=40, n_test=40)
BASE = Experiment(
    task=TASK,
    net=CommitteeNet(width=40, epsilon=1.0),
    optimizer=GradientDescent(learning_rate=2.0),
    n_steps=1000,
    n_evals=5,
    metrics=METRICS,
)
MLP = BASE.changed(
    {"net": MLPNet(widths=(30,), activation="tanh"), "learning_rate": 0.2, "n_steps": 3000}
)


def scaled(base, alpha):
    """At a rate of 1/α² if lazy, of 1/α if rich, where stability limits it."""
    rate = base.optimizer.learning_rate * min(1.0, alpha)
    return base.changed({"alpha": alpha, "learning_rate": rate})


LAZY, RICH = scaled(BASE, 100.0), scaled(BASE, 0.02)
BARE = scaled(BASE, 100.0).changed({"metrics": [WeightNorm()]})
CLOSED = CommitteeExperiment(
    dim=3,
    width=40,
    n_train=20,
    epsilon=1.0,
    n_steps=2000,
    n_test=40,
    alpha=1e3,
    n_probe=20,
    linearized=False,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A lazy and a rich run, one of which too little is known, and a closed one."""
    folder = tmp_path_factory.mktemp("runs") / "store"
    for runs, run in (([LAZY, RICH], one_by_one), ([BARE], losses_alone)):
        sweeps.fill(runs, store=folder, progress=False, run=run)
    return folder


def one_by_one(experiments):
    return [lz.train(one) for one in experiments]


def losses_alone(experiments):
    for one in experiments:
        loss = Record(np.array([1.0, 0.01]), "label units²")
        records = {"train_loss": loss, "test_loss": loss}
        yield History(one, np.array([0, 1000]), records, Status.ok, None, 0.0)


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["diagnose", *map(str, arguments)])
    return ended.value.code


def verdict_of_parameters(experiment):
    """The full diagnosis of the parameters to which the experiment leads."""
    inputs, net, params = experiment.sample({}), experiment.net, lz.train(experiment).params
    raw = net.predictor(**{name: getattr(net, name) for name in net.dynamic_hyperparameters})
    predict = lz.scale_output(raw, inputs.params0, experiment.scaling.alpha)
    return lz.diagnose(predict, inputs.params0, params, inputs.data.x, inputs.data.y)


def test_verdicts_are_those_of_the_parameters(store, capsys):
    assert run(store, "--json") == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    row, full = rows[sweeps.experiment_key(RICH)], verdict_of_parameters(RICH)
    assert row["verdict"] == full.regime == "rich"
    for name in ("linearization_gap", "kernel_cosine"):
        assert row[name][0] == pytest.approx(full.readings[name].value, rel=1e-3)
    assert rows[sweeps.experiment_key(LAZY)]["verdict"] == "lazy"
    bare = rows[sweeps.experiment_key(BARE)]
    assert bare["verdict"] == "undecided"
    assert "record the metric linearization" in bare["reason"]


def test_the_table_groups_by_what_differs_and_says_what_to_record(store, capsys):
    assert run(store, "--where", "net.kind=committee") == 0
    said = capsys.readouterr().out
    assert "alpha" in said
    assert max(map(len, said.splitlines()[:12])) <= 80
    assert "lazy 1" in said
    assert "undecided (1): Not recorded: the linearization gap" in said


def test_many_settings_share_a_column(capsys):
    row = {
        "a": 1,
        "b": 0.5,
        "c": None,
        "d": "x",
        "verdict": "lazy",
        "reason": "",
        "key": "0123456789",
    }
    _print([row | {"linearization_gap": [0.1, 0.1]}], ["a", "b", "c", "d"], "title")
    said = capsys.readouterr().out
    assert "settings" in said
    assert "a=1 b=0.5 d=x" in said
    assert "01234567 " in said


def test_the_page_of_one_run(store, tmp_path, capsys):
    key = sweeps.experiment_key(RICH)
    page = tmp_path / "page.html"
    assert run(store, "--where", f"key={key}", "--to", page) == 0
    assert "This network is rich." in page.read_text(encoding="utf-8")
    assert "Over training" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert run(store, "--to", tmp_path / "other.html") == 2
    assert "a page shows one" in capsys.readouterr().err
    assert not (tmp_path / "other.html").exists()


BAD = {
    "a folder without runs": ([], "no experiments"),
    "rows beside a store": (["--data", "x.npz"], "--data cannot be used with a store"),
    "a condition that nothing meets": (["--where", "alpha=7"], "None of"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence_and_exit_code_two(case, store, tmp_path, capsys):
    arguments, message = BAD[case]
    assert run(tmp_path if "without" in case else store, *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("net", ["committee", "mlp"])
@pytest.mark.parametrize("alpha, regime", [(300.0, "lazy"), (0.02, "rich")])
def test_records_give_the_verdict_of_the_parameters(net, alpha, regime):
    mlp = BASE.changed({"net": MLPNet(widths=(30,), activation="tanh"), "learning_rate": 0.2})
    mlp = mlp.changed({"n_steps": 3000})
    experiment = scaled(mlp if net == "mlp" else BASE, alpha)
    records = records_of(sweeps.outcome_of(lz.train(experiment)))
    assert diagnose_records(records).regime == verdict_of_parameters(experiment).regime == regime


@pytest.mark.slow
def test_what_a_closed_run_lacks_is_computed_from_its_kernel_at_the_start():
    records = records_of(sweeps.outcome_of(lz.train(CLOSED)))
    with_both = lz.train(CLOSED.changed({"linearized": True})).records
    assert diagnose_records(records).regime == "lazy"
    assert "computed from the kernel at the start" in records.notes[0]
    for name in ("linearized_train_loss", "linearized_test_loss"):
        np.testing.assert_allclose(records.curves[name], with_both[name].values, rtol=1e-9)
