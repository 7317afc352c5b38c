"""Our side of the training benchmark: the engine's own compiled loop, without ``train`` around."""

import sys

import _worker
import cases
import jax
import numpy as np

from lazyrich.training._draw import blueprint
from lazyrich.training._engine import program


class Steps:
    """A run of a case that goes on where it is."""

    def __init__(self, name, precision):
        experiment = cases.CASES[name].experiment.changed({"precision": precision})
        self.parts = program(blueprint(experiment), (), "one")
        self.inputs = jax.tree.map(_cast(precision), cases.problem(name))
        self.fixed, self.state = self.parts.start(self.inputs)
        self.step = 0

    def advance(self, n_steps):
        """Make so many steps, and wait until they are made."""
        state = self.parts.advance(
            self.inputs, self.fixed, self.state, np.array(True), self.step, n_steps
        )
        self.state = jax.block_until_ready(state)
        self.step += n_steps

    def loss(self):
        """The loss on all training points, where the run is now."""
        return float(self.parts.observe(self.inputs, self.fixed, self.state)["train_loss"])


def _cast(precision):
    def cast(leaf):
        is_real = jax.numpy.issubdtype(leaf.dtype, np.floating)
        return jax.numpy.asarray(leaf, precision) if is_real else jax.numpy.asarray(leaf)

    return cast


if __name__ == "__main__":
    name = sys.argv[1]
    with jax.enable_x64(True):
        run = Steps(name, "float64")
        curve = [run.loss()]
        for _ in range(cases.N_EQUAL):
            run.advance(1)
            curve.append(run.loss())
    _worker.serve(curve, Steps(name, "float32").advance, cases.CASES[name].experiment.n_steps)
