"""Sweep α over seeds, each run computed once, and read off the delay of every run."""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import lazyrich as lz
from lazyrich.sweeps import grid, sweep

base = lz.preset("polynomial").changed({"n_steps": 1000, "task.n_test": 300, "metrics": []})
experiments = grid(base, {"alpha": [0.25, 0.5, 1.0], "seed": range(3)})

with tempfile.TemporaryDirectory() as store:  # a folder of your own keeps them
    found = sweep(experiments, store=store, progress=False)
    again = sweep(experiments, store=store, progress=False)  # opened, not computed
assert again.equals(found)

late = np.empty((found.sizes["alpha"], found.sizes["seed"]))
for i, alpha in enumerate(found.alpha.values):
    for j, seed in enumerate(found.seed.values):
        run = found.sel(alpha=alpha, seed=seed).dropna("step")
        curves = (run.step.values, run.train_loss.values, run.test_loss.values)
        late[i, j] = lz.grokking_delay(*curves).delay  # inf where the test loss never fell
    print(f"α = {alpha:<4}: delays {np.round(late[i])} steps, median {np.median(late[i]):.0f}")

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.loglog(found.alpha, late, "o-", label=[f"seed {seed}" for seed in found.seed.values])
axes.set(xlabel="output scale α", ylabel="delay, steps")
axes.legend()
figure.savefig("sweep_and_delay.png", dpi=150)

# Lazier is later, in every seed (a run that was cut off before its end orders last).
assert all((late[i, j] < late[i + 1, j]) for i in range(2) for j in range(3))
