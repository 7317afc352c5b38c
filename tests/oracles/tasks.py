"""Tasks in plain Python and NumPy, and the files that image tasks read."""

import gzip
import struct
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

FORMULAS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "square_sum": lambda a, b: a * a + b * b,
    "quadratic": lambda a, b: a * a + a * b + b * b,
    "cubic": lambda a, b: a * a * a + a * b,
}


def modular_label(operation, a, b, p):
    """(a ∘ b) mod p of Python integers; a quotient by trying every number."""
    if operation == "divide":
        [quotient] = [c for c in range(p) if (c * b - a) % p == 0]
        return quotient
    return FORMULAS[operation](int(a), int(b)) % p


def teacher_output(params, x, activation):
    """The teacher's outputs, unit by unit."""
    rows = np.asarray(x, dtype=np.float64)
    for layer, (weights, biases) in enumerate(params):
        weights, biases = np.asarray(weights), np.asarray(biases)
        units = [
            sum(rows[:, i] * weights[i, j] for i in range(weights.shape[0])) + biases[j]
            for j in range(weights.shape[1])
        ]
        rows = np.stack(units, axis=1)
        if layer < len(params) - 1:
            rows = activation(rows)
    return rows


def pooled(image, size):
    """Means over squares of a square image, pixel by pixel."""
    step = len(image) // size
    means = np.zeros((size, size))
    for row in range(size * step):
        for column in range(size * step):
            means[row // step, column // step] += image[row, column] / step**2
    return means


def idx_bytes(array):
    """The IDX file of an array of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def read_idx(path):
    """Shape and Python integers of an IDX file, read number by number."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
        _, _, n_axes = struct.unpack(">HBB", file.read(4))
        shape = struct.unpack(f">{n_axes}I", file.read(4 * n_axes))
        return shape, list(file.read())


IDX_FILES = {
    "train-images-idx3-ubyte": ("x_train", (12, 28, 28), 256),
    "train-labels-idx1-ubyte": ("y_train", (12,), 10),
    "t10k-images-idx3-ubyte": ("x_test", (6, 28, 28), 256),
    "t10k-labels-idx1-ubyte": ("y_test", (6,), 10),
}


def write_mnist(folder, *, is_packed=True):
    """Four small IDX files of random images; returns the arrays by their npz names."""
    folder.mkdir(parents=True, exist_ok=True)
    generator, arrays = np.random.default_rng(0), {}
    for name, (short, shape, top) in IDX_FILES.items():
        arrays[short] = generator.integers(0, top, shape).astype(np.uint8)
        content = idx_bytes(arrays[short])
        if is_packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, requested, *args, **options):
        self.requested = requested
        super().__init__(*args, **options)

    def log_message(self, format, *args):
        self.requested.append(self.path)


@contextmanager
def served(folder):
    """A local web server of a folder: its address, and the list of what was asked for."""
    requested = []
    handler = partial(_Handler, requested, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            server.shutdown()
            thread.join()
