"""Our side of the training benchmark: the engine's own compiled loop, without ``train`` around."""

import sys

import _worker
import cases
import jax
import numpy as np


class Steps:
    """A run of a case that goes on where it is."""

    def __init__(self, name, precision):
        experiment = cases.CASES[name].experiment.changed({"precision": precision})
        program = type(experiment).compile(experiment.static_key())
        self.inputs = jax.tree.map(_cast(precision), cases.problem(name))
        self.constants, self.state = jax.jit(program.init)(self.inputs)
        self.compiled_advance = jax.jit(program.advance, donate_argnums=2)
        self.compiled_measure = jax.jit(program.measure)
        self.step = 0

    def advance(self, n_steps):
        """Make so many steps, and wait until they are made."""
        state = self.compiled_advance(self.inputs, self.constants, self.state, self.step, n_steps)
        self.state = jax.block_until_ready(state)
        self.step += n_steps

    def loss(self):
        """The loss on all training points, where the run is now."""
        records, _ = self.compiled_measure(self.inputs, self.constants, self.state, self.step)
        return float(records["train_loss"])


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
