"""Stores of runs whose curves are known in closed form."""

import numpy as np

from lazyrich._base import Config, Status
from lazyrich.sweeps import Store, outcome_of
from lazyrich.training import History, Record

STEPS = np.unique(np.round([0, *np.geomspace(1, 1000, 60)]).astype(int))


class Exponential(Config):
    """Losses exp(−t) and exp(−t/α), t in units of 30/ε steps."""

    alpha: float = 1.0
    epsilon: float = 1.0
    seed: int = 0


def history(one: Exponential) -> History:
    time = STEPS * one.epsilon / 30
    losses = {
        "train_loss": Record(np.exp(-time), "label units²"),
        "test_loss": Record((1 + 0.1 * one.seed) * np.exp(-time / one.alpha), "label units²"),
        "weight_norm": Record(1 + time),
    }
    return History(one, STEPS, losses, Status.ok, None, 0.5)


def exponential_store(folder, *, alphas=(1.0, 3.0, 1e6), epsilons=(0.5, 1.0), n_seeds=2):
    """A store over α, ε and seeds; at the largest α the test loss never falls."""
    store = Store(folder)
    for alpha in alphas:
        for epsilon in epsilons:
            for seed in range(n_seeds):
                one = Exponential(alpha=float(alpha), epsilon=float(epsilon), seed=seed)
                store.save(outcome_of(history(one)))
    store.pack()
    return folder
