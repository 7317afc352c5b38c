"""Our side of the benchmark: ``side_lazyrich.py CASE INPUTS OUTPUT VARIANT``."""

import sys

import _worker
import cases
import jax

from lazyrich.kernels import ntk

name, inputs, output, variant = sys.argv[1:]
predict, _, traced = cases.CASES[name]
params, x = jax.device_put(_worker.load(inputs, name))
if variant == "jit":
    kernel = jax.jit(lambda params, x: ntk(predict, params, x, trace_outputs=traced))
else:

    def kernel(params, x):
        return ntk(predict, params, x, trace_outputs=traced)


_worker.serve(lambda: jax.block_until_ready(kernel(params, x)), output)
