"""Train from a frozen experiment, with metrics of the library's and one of your own."""

import jax.numpy as jnp
import matplotlib.pyplot as plt

import lazyrich as lz

experiment = lz.preset("polynomial").changed(
    {
        "n_steps": 600,
        "alpha": 0.5,
        "metrics": [{"kind": "weight_norm"}, {"kind": "alignment", "n_points": 100}],
    }
)


def largest_weight(now):
    """Any pure function of a snapshot of the run."""
    return jnp.abs(now.params.weights).max()


history = lz.train(experiment, metrics={"largest_weight": largest_weight})
found = lz.grokking_delay(history.steps, history.train_loss, history.test_loss)
print(
    f"{history.status.name}: train falls at {found.train_step:.0f}, test at {found.test_step:.0f}"
)
for name, record in history.records.items():
    if record.values.ndim == 1:
        print(f"{name:>20} {record.values[0]:.4g} → {record.values[-1]:.4g} ({record.unit})")

figure, (losses, kernel) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for name, axes in [("train_loss", losses), ("test_loss", losses), ("debiased_alignment", kernel)]:
    axes.plot(history.steps, history.records[name].values, label=name.replace("_", " "))
    axes.set(xlabel="optimizer steps", xscale="symlog")
    axes.legend()
figure.savefig("train_and_measure.png", dpi=150)

assert found.ratio > 1.5
assert history.records["debiased_alignment"].values[-1] > 0.03
