"""Oracle: what these runs gave before both kinds of simulation went through one loop.

``python tests/training/test_numbers_stay.py`` writes the file anew, which is only right
when ``NUMERICS_VERSION`` or ``COMMITTEE_VERSION`` is raised.
"""

import hashlib
import io
import os
import platform
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from lazyrich.models import CommitteeNet, MLPNet, TransformerNet
from lazyrich.tasks import (
    EigenvectorTask,
    HermiteTask,
    ModularTask,
    PolynomialTask,
    TeacherTask,
)
from lazyrich.training import (
    Adam,
    AdamW,
    CommitteeExperiment,
    Experiment,
    GradientDescent,
    PrintedDraw,
    train_many,
)

FILE = Path(__file__).parents[1] / "data" / "runs.npz"
SHA256 = "6159ecfb474b63f82053b53a669906de9507d874f7645b6bdc589195c26040f6"

POLYNOMIAL = Experiment(
    task=PolynomialTask(dim=6, n_train=20, n_test=30, n_directions=2),
    net=CommitteeNet(width=9, epsilon=0.4),
    optimizer=GradientDescent(learning_rate=2.0, momentum=0.5),
    scaling={"alpha": 1.7, "label_scale": 1.5},
    n_steps=40,
    n_evals=8,
    metrics=[
        {"kind": kind}
        for kind in ("weight_norm", "parameter_change", "linearized", "terms", "kernel_regression")
    ]
    + [{"kind": "difficulty"}, {"kind": "alignment", "n_points": 8}],
    precision="float64",
)
TEACHER = Experiment(
    task=TeacherTask(dim=3, widths=(8,), target_dim=2, n_train=20, n_test=20),
    net=MLPNet(widths=(10,), activation="tanh"),
    optimizer=AdamW(learning_rate=1e-2, weight_decay=0.05, batch_size=6, matched_decay=True),
    scaling={"alpha": 2.0, "weight_scale": 1.5},
    n_steps=30,
    n_evals=6,
    metrics=[{"kind": kind} for kind in ("weight_norm", "threshold_accuracy", "linearized")],
)
CLASSES = Experiment(
    task=ModularTask(modulus=5, fraction=0.8, inputs="tokens"),
    net=TransformerNet(d_model=8, n_heads=2, d_mlp=8),
    optimizer=AdamW(learning_rate=1e-2, weight_decay=0.1, warmup_steps=5),
    loss="cross_entropy",
    scaling={"center": False},
    n_steps=20,
    n_evals=5,
)
KERNEL_LABELS = Experiment(
    task=EigenvectorTask(dim=4, n_train=10, n_test=20, index=2),
    net=CommitteeNet(width=8, epsilon=0.3, readouts="normal"),
    optimizer=Adam(learning_rate=1e-2),
    n_steps=25,
    eval_steps=(1, 10),
    metrics=[{"kind": "test_loss_error"}, {"kind": "kernel_movement", "n_points": 6}],
)
STOPPED = Experiment(
    task=HermiteTask(dim=4, n_train=12, n_test=20, degree=3),
    net=CommitteeNet(width=8, epsilon=0.5, degree=3),
    optimizer=GradientDescent(learning_rate=300.0, learning_rate_rule="fixed"),
    n_steps=60,
    n_evals=12,
    precision="float64",
)
PRINTED = Experiment(
    task=PolynomialTask(dim=5, n_train=15, n_test=20),
    net=CommitteeNet(width=8, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=110,
    n_evals=4,
    printed=PrintedDraw(),
)
EXACT = CommitteeExperiment(
    dim=6, width=12, n_train=20, epsilon=0.3, learning_rate=0.3, n_steps=60, n_test=30, n_evals=8
)
FLOW = EXACT.changed({"dynamics": "flow", "learning_rate": 1.0, "n_probe": 20})

RUNS = {
    "polynomial": [POLYNOMIAL],
    "teacher": [TEACHER, TEACHER.changed({"seed": 1, "scaling.alpha": 0.5})],
    "classes": [CLASSES],
    "kernel labels": [KERNEL_LABELS],
    "stopped": [STOPPED, STOPPED.changed({"learning_rate": 1.0, "stop.solved_loss": 0.9})],
    "printed": [PRINTED],
    "descent": [EXACT.changed({"n_probe": 20})],
    "descent together": [
        EXACT.changed({"seed": seed, "alpha": alpha, "momentum": momentum})
        for seed, alpha, momentum in ((0, 1.0, 0.9), (1, 3.0, 0.5), (1, 0.3, 0.9))
    ],
    "descent, not centred": [
        EXACT.changed(
            {"center": False, "aligned": 0.2, "label_scale": 2.0, "weight_scale": 0.7}
            | {"precision": "float64", "n_directions": 2, "linearized": False}
        )
    ],
    "descent that diverges": [EXACT.changed({"learning_rate": 1000.0})],
    "flow": [
        FLOW.changed({"alpha": alpha, "has_split": True, "has_printed_alignment": True})
        for alpha in (0.5, 4.0)
    ],
    "flow in double precision": [FLOW.changed({"precision": "float64", "mixed": 0.3})],
    "flow, printed": [FLOW.changed({"printed": PrintedDraw(), "n_steps": 400, "n_evals": 5})],
}
# Committee machines once recorded all evaluations in one program: sums in another order. The
# rest is the same to the last bit.
ROUNDING = {name: 1e-12 for name in RUNS if "descent" in name or "flow" in name}
ROUNDING |= {"descent": 1e-6, "descent together": 1e-6, "descent that diverges": 1e-6}  # float32
TOGETHER = ("teacher", "descent together")
FAST = ("teacher", "descent together")  # the flow is compared with the compiler of users alone


def here():
    """What decides the order of sums: bits can be compared where all of it is the same."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line for line in lines if "model name" in line][:1]
    flags = os.environ.get("XLA_FLAGS", "")
    return f"{names} {os.cpu_count()} {platform.python_version()} {jax.__version__} {flags}"


def computed(name):
    """Every number of some runs, by name."""
    mode = "vmap" if name in TOGETHER else "loop"
    arrays = {}
    for k, history in enumerate(train_many(RUNS[name], mode=mode)):
        arrays[f"{name}/{k}/steps"] = np.asarray(history.steps)
        arrays[f"{name}/{k}/status"] = np.asarray(int(history.status))
        for record, values in history.records.items():
            arrays[f"{name}/{k}/{record}"] = values.values
        for i, leaf in enumerate(jax.tree.leaves(history.params)):
            arrays[f"{name}/{k}/params {i}"] = np.asarray(leaf)
    return arrays


def stored():
    content = FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    with np.load(io.BytesIO(content)) as file:  # the linearized network had another name
        return {path.replace("/twin_", "/linearized_"): values for path, values in file.items()}


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in RUNS],
)
def test_numbers_are_those_of_before(name):
    old, new = stored(), computed(name)
    is_here = str(old["here"]) == here()
    assert {path for path in old if path.startswith(f"{name}/")} == new.keys()
    for path, values in new.items():
        assert values.dtype == old[path].dtype, path
        if is_here and name not in ROUNDING:
            np.testing.assert_array_equal(values, old[path], err_msg=path)
            continue
        # Tens of steps on another machine.
        elsewhere = 1e-11 if RUNS[name][0].precision == "float64" else 1e-5
        rtol = ROUNDING[name] if is_here else elsewhere
        scale = np.abs(old[path][np.isfinite(old[path])]).max(initial=0)
        np.testing.assert_allclose(values, old[path], rtol, rtol * scale, err_msg=path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    arrays = {"here": np.array(here())}
    for name in RUNS:
        arrays |= computed(name)
    np.savez_compressed(FILE, **arrays)
    sys.stdout.write(hashlib.sha256(FILE.read_bytes()).hexdigest() + "\n")
