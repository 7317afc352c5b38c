"""Experiments that cost nothing, wait, fail or kill, with results known in closed form."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from lazyrich._base import Config, Status
from lazyrich.training import History, Record

VERSIONS = {"task": 1, "training": 1}


class Scaling(Config):
    alpha: float = 1.0


class Net(Config):
    width: int = 4
    sizes: tuple[int, ...] = (2, 3)


class Toy(Config):
    scaling: Scaling = Scaling()
    net: Net = Net()
    n_steps: int = 10
    n_train: int | None = None
    learning_rate: float = 0.1
    seed: int = 0
    seconds: float = 0.0
    deed: str = "finish"

    @property
    def numerics(self) -> dict[str, int]:
        return dict(VERSIONS)


def toy_steps(toy):
    return np.unique(np.round(np.geomspace(1, toy.n_steps, 5)).astype(int))


def toy_loss(toy):
    """exp(−α t / n) + seed: what a store has to give back, to the last bit."""
    return np.exp(-toy.scaling.alpha * toy_steps(toy) / toy.n_steps) + toy.seed


def toy_history(toy, wall_seconds=0.0):
    loss = toy_loss(toy)
    accuracy = np.stack([loss < 0.5, loss < 0.9], axis=1)
    records = {
        "train_loss": Record(loss, "label units²"),
        "test_loss": Record((2 * loss).astype(np.float32), "label units²"),
        "solved": Record(accuracy, "dimensionless", ("threshold",), ((0.5, 0.9),)),
        "layer_norm": Record(np.outer(loss, toy.net.sizes), "dimensionless", ("layer",), (None,)),
        "n_active": Record(np.arange(len(loss)), "dimensionless"),
    }
    return History(toy, toy_steps(toy), records, Status.ok, None, wall_seconds)


def run_toys(toys):
    """Compute toys one by one; each that is begun leaves a line in the file $TOY_LOG."""
    for toy in toys:
        if "TOY_LOG" in os.environ:
            with open(os.environ["TOY_LOG"], "a") as log:
                log.write(f"{os.getpid()} {toy.scaling.alpha:g} {toy.seed}\n")
        deed(toy)
        time.sleep(toy.seconds)
        yield toy_history(toy, toy.seconds)


def deed(toy):
    if toy.deed == "raise":
        raise ZeroDivisionError(f"no walk with seed {toy.seed}")
    if toy.deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if toy.deed.startswith("kill once:"):  # dies the first time, and leaves a mark
        mark = Path(toy.deed.partition(":")[2])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def begun():
    """Lines of $TOY_LOG: (process, alpha, seed)."""
    path = Path(os.environ["TOY_LOG"])
    if not path.exists():
        return []
    return [tuple(line.split()) for line in path.read_text().splitlines()]


SHORT = [
    Toy(scaling={"alpha": alpha}, seed=seed, seconds=0.02)
    for alpha in (1.0, 2.0, 3.0, 4.0)
    for seed in range(10)
]
LONG = [
    Toy(scaling={"alpha": 1.0 + k}, seed=seed, seconds=0.1) for k in range(12) for seed in range(10)
]
