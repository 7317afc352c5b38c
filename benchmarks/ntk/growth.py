"""Time and memory of the traced kernel of one network at one number of rows, as JSON.

``growth.py N_ROWS BLOCK_SIZE`` (a block size of 0 lets the library choose).
"""

import json
import sys
import time

import _worker
import cases
import jax
import numpy as np

from lazyrich.kernels import ntk

n_rows, block_size = int(sys.argv[1]), int(sys.argv[2]) or None
params, x = jax.device_put(cases.mlp_inputs(n_rows))
kernel = jax.jit(lambda p, x: ntk(cases.mlp, p, x, trace_outputs=True, block_size=block_size))
before = _worker.peak_bytes()
start = time.perf_counter()
jax.block_until_ready(kernel(params, x))
first = time.perf_counter() - start
seconds = []
while len(seconds) < 5 and sum(seconds) < 20:
    start = time.perf_counter()
    jax.block_until_ready(kernel(params, x))
    seconds.append(time.perf_counter() - start)
report = {
    "n_rows": n_rows,
    "block_size": block_size,
    "compile_seconds": first - float(np.median(seconds)),
    "seconds": sorted(seconds),
    "peak_bytes": _worker.peak_bytes(),
    "peak_before_bytes": before,
    "input_and_kernel_bytes": int(x.nbytes + 4 * n_rows**2),
}
print(json.dumps(report))
