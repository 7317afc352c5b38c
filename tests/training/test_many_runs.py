"""Oracle: each run alone, uninterrupted."""

import os
import subprocess
import sys
from itertools import pairwise

import jax
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.models import CommitteeNet, MLPNet
from lazyrich.tasks import PolynomialTask, TeacherTask
from lazyrich.training import (
    AdamW,
    Experiment,
    GradientDescent,
    ParameterChange,
    WeightNorm,
    train,
    train_many,
)

BASE = Experiment(
    task=TeacherTask(dim=3, widths=(8,), target_dim=2, n_train=20, n_test=20),
    net=MLPNet(widths=(10,), activation="tanh"),
    optimizer=AdamW(learning_rate=1e-2, weight_decay=0.05, batch_size=6),
    n_steps=60,
    n_evals=8,
    metrics=(WeightNorm(), ParameterChange()),
    linearized=True,
)
MIXED = [
    BASE.changed({"seed": 0}),
    BASE.changed({"seed": 1, "scaling.alpha": 2.0}),
    BASE.changed({"seed": 1, "optimizer.weight_decay": 0.5, "scaling.weight_scale": 2.0}),
    BASE.changed({"seed": 2, "optimizer.learning_rate": 3e-3, "scaling.label_scale": 0.5}),
    Experiment(
        task=PolynomialTask(dim=4, n_train=10, n_test=10),
        net=CommitteeNet(width=6, epsilon=0.3),
        optimizer=GradientDescent(learning_rate=1.0),
        n_steps=20,
    ),
]


@pytest.fixture(scope="module")
def alone():
    return [train(one) for one in MIXED]


def same(one, other, *, rtol=0.0, atol=0.0):
    assert one.records.keys() == other.records.keys()
    assert np.array_equal(one.steps, other.steps)
    for name in one.records:
        np.testing.assert_allclose(
            one.records[name].values, other.records[name].values, rtol=rtol, atol=atol
        )
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("mode", ["loop", "threads", "auto"])
def test_one_by_one_is_exactly_alone(alone, mode):
    for one, other in zip(train_many(MIXED, mode=mode), alone, strict=True):
        same(one, other)


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_rules_of_the_rate_share_a_compilation_with_the_numbers_they_stand_for(mode):
    """α = 2, whose powers are exact: a rule gives the bits of its rate and decay given outright."""
    ruled = [
        BASE.changed({"scaling.alpha": 2.0, "learning_rate_rule": rule, "matched_decay": matched})
        for rule in ("inverse_square", "inverse", "fixed")
        for matched in (False, True)
    ]
    fixed = {"learning_rate_rule": "fixed", "matched_decay": False}
    given = []
    for one in ruled:
        rate, decay = one.optimizer.rate_and_decay(2.0)
        given.append(one.changed({**fixed, "learning_rate": rate, "weight_decay": decay}))
    assert len({one.static_key() for one in ruled + given}) == 1
    found = train_many(ruled + given, mode=mode)
    for one, other in zip(found[:6], found[6:], strict=True):
        same(one, other)
    assert len({float(one.train_loss[-1]) for one in found}) == 5  # "fixed" is twice the same


def test_a_batch_is_alone_up_to_rounding(alone):
    # Adam divides by the root of small squares: 60 steps of float32 rounding.
    for one, other in zip(train_many(MIXED, mode="vmap"), alone, strict=True):
        same(one, other, rtol=2e-3, atol=2e-4)


def test_batches_are_cut_to_the_memory_there_is(alone, monkeypatch):
    needed = []

    def free():
        needed.append(True)
        return 0

    monkeypatch.setattr("lazyrich.training._dispatch._free_bytes", free)
    for one, other in zip(train_many(MIXED, mode="vmap"), alone, strict=True):
        same(one, other)  # one at a time: exactly alone
    assert needed


def test_runs_on_one_set_of_data_are_alone_up_to_rounding():
    fixed = BASE.changed({"task.data_seed": 3, "task.split_seed": 3})
    runs = [fixed.changed({"seed": seed}) for seed in range(3)]
    for one, other in zip(train_many(runs, mode="vmap"), map(train, runs), strict=True):
        same(one, other, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_a_resumed_run_continues_exactly(tmp_path, mode):
    runs = MIXED[:2]
    whole = train_many(runs, mode=mode)

    class Cut(Exception):
        pass

    saves = []

    def cut(progress):
        saves.append(progress)
        if len(saves) == 9:
            raise Cut

    kept = {"checkpoints": tmp_path, "checkpoint_seconds": 0.0}
    with pytest.raises(Cut):
        train_many(runs, mode=mode, progress=cut, **kept)
    assert list(tmp_path.iterdir())
    resumed = train_many(runs, mode=mode, **kept)
    for one, other in zip(resumed, whole, strict=True):
        same(one, other)
    again = []
    finished = train_many(runs, mode=mode, progress=again.append, **kept)
    for one, other in zip(finished, whole, strict=True):
        same(one, other)
    assert all(report.steps_per_second == 0 for report in again)  # nothing was computed again


def test_ctrl_c_keeps_the_state_between_eval_steps(tmp_path):
    """The last segment of a log-spaced plan is long: the state is kept inside it too."""
    path = tmp_path / "run.npz"
    one = BASE.model_copy(update={"n_steps": 400_000, "eval_steps": (0, 400_000), "metrics": ()})

    def press(progress):
        if progress.n_done >= 100 and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), 2)

    pressed = []
    with pytest.raises(KeyboardInterrupt):
        train(one, progress=press, checkpoint=path)
    with np.load(path) as file:
        header = str(file["header"])
    assert '"step": 0' not in header
    seen = []
    with pytest.raises(KeyboardInterrupt):
        train(one, progress=lambda p: (seen.append(p), os.kill(os.getpid(), 2)), checkpoint=path)
    assert seen[0].n_done >= 100


def test_a_checkpoint_of_another_experiment_is_refused_and_left(tmp_path):
    path = tmp_path / "run.npz"
    train(MIXED[4], checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"net\.epsilon is 0\.3 there and 0\.5 here"):
        train(MIXED[4].changed({"net.epsilon": 0.5}), checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_a_damaged_checkpoint_is_set_aside_and_the_rest_kept(tmp_path, damage):
    whole = train_many(MIXED[:2], mode="loop", checkpoints=tmp_path)
    path = tmp_path / "0.npz"
    content = path.read_bytes()
    path.write_bytes(content[:4500] if damage == "cut off" else content[:-900] + content[-899:])
    with pytest.warns(UserWarning, match=r"0\.npz is cut off or damaged.*0\.npz\.damaged"):
        again = train_many(MIXED[:2], mode="loop", checkpoints=tmp_path)
    for one, other in zip(again, whole, strict=True):
        same(one, other)
    assert (tmp_path / "0.npz.damaged").exists()


def test_a_disk_that_refuses_is_said_in_one_sentence(tmp_path):
    (tmp_path / "folder").write_text("a file where a folder should be")
    with pytest.raises(InputError, match="cannot be written"):
        train(MIXED[4], checkpoint=tmp_path / "folder" / "run.npz")


def test_progress_reaches_the_end_and_early_stops_count():
    reports = []
    runs = [BASE, BASE.changed({"optimizer.learning_rate": 1e30, "seed": 1})]
    train_many(runs, mode="loop", progress=reports.append)
    assert reports[-1].n_done == reports[-1].n_steps == 120
    assert all(a.n_done <= b.n_done for a, b in pairwise(reports))
    assert reports[-1].metrics["train_loss"] > 0 or np.isnan(reports[-1].metrics["train_loss"])


def test_finished_runs_are_handed_over_as_they_end():
    got = {}
    histories = train_many(MIXED, mode="threads", on_finished=got.__setitem__)
    assert all(got[k] is histories[k] for k in range(len(MIXED)))


def test_metrics_reach_a_real_writer(tmp_path, require_extra):
    require_extra("tensorboardX")
    from tensorboardX import SummaryWriter
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter  # noqa: F401

    writer = SummaryWriter(str(tmp_path))

    def log(metrics, step):
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    history = train(MIXED[4], log=log)
    writer.close()
    (path,) = tmp_path.iterdir()
    content, losses = path.read_bytes(), {}
    while content:  # length, its checksum, event, its checksum
        length = int.from_bytes(content[:8], "little")
        event = event_pb2.Event.FromString(  # ty: ignore[missing-attribute]
            content[12 : 12 + length]
        )
        content = content[16 + length :]
        for value in event.summary.value:
            if value.tag == "train_loss":
                losses[event.step] = value.simple_value
    assert list(losses) == history.steps.tolist()
    np.testing.assert_allclose(list(losses.values()), history.train_loss, rtol=1e-6)


@pytest.mark.slow
def test_runs_sharded_over_devices_are_alone_up_to_rounding(tmp_path):
    script = """
import jax, numpy as np
from training.test_many_runs import MIXED, same
from lazyrich.training import train, train_many
assert len(jax.local_devices()) == 2
runs = [MIXED[4].changed({"seed": seed}) for seed in range(3)]
for one, other in zip(train_many(runs, mode="shard"), map(train, runs), strict=True):
    same(one, other, rtol=1e-4, atol=1e-5)
print("same")
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | flags | {"PYTHONPATH": os.pathsep.join([*sys.path, "tests"])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "same", found.stderr
