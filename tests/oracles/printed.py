"""The authors' generator in NumPy: threefry with 20 rounds as JAX laid it out before 0.5."""

import numpy as np
from scipy.special import erfinv

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key, first, second):
    """The two words of each block, for two arrays of counters (uint32)."""
    keys = [np.uint32(key[0]), np.uint32(key[1])]
    keys.append(keys[0] ^ keys[1] ^ np.uint32(0x1BD11BDA))
    a, b = first + keys[0], second + keys[1]
    for block in range(5):
        for turn in _ROTATIONS[block % 2]:
            a = a + b
            b = (b << np.uint32(turn)) | (b >> np.uint32(32 - turn))
            b = a ^ b
        a = a + keys[(block + 1) % 3]
        b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def normal(key, shape):
    """``random.normal(PRNGKey(key), shape)``, with the inverse error function of SciPy."""
    size = int(np.prod(shape))
    counts = np.arange(size + size % 2, dtype=np.uint32)
    counts[size:] = 0
    with np.errstate(over="ignore"):
        halves = threefry((0, key), *np.split(counts, 2))
    bits = np.concatenate(halves)[:size]
    unit = ((bits >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    low = np.nextafter(np.float32(-1), np.float32(0))
    uniform = np.maximum(unit * (np.float32(1) - low) + low, low)
    return (np.sqrt(2) * erfinv(uniform.astype(np.float64))).reshape(shape)


def polynomial(*, dim, n_train, n_test, keys=(0, 1, 2), label_scale=1.0):
    """Inputs and labels of both sets, and β: y = s/2 (β·x)²."""
    beta = normal(keys[2], (dim,))
    x, x_test = (
        normal(k, (dim, n)).T / dim**0.5 for k, n in zip(keys[:2], (n_train, n_test), strict=True)
    )
    labels = [label_scale / 2 * (points @ beta) ** 2 for points in (x, x_test)]
    return x, labels[0], x_test, labels[1], beta


def mixed_rows(weights, beta, *, part, epsilon):
    """Rows (1 − q)w ± qβ/√ε, + for the first."""
    signs = (-1.0) ** np.arange(len(weights))
    return (1 - part) * weights + part * signs[:, None] * beta / epsilon**0.5


def eigenvector_labels(weights, x, *, epsilon, index):
    """The j-th column of the eigenvectors of K less its mean entry, largest eigenvalue first."""
    n_units = len(weights)
    slope = 1 + epsilon * x @ weights.T
    kernel = (x @ x.T) * (slope @ slope.T) / n_units**2
    values, vectors = np.linalg.eigh(kernel - kernel.mean())
    return vectors[:, np.argsort(values)[::-1][index - 1]]


def student_losses(*, n_steps, rate=3e-3, decay=0.1, width=100, n=100):
    """Train losses of w₃ tanh(w₂ tanh(w₁x)) under AdamW before each step, teacher alike."""
    shapes = ((width, 5), (width, width), (5, width))
    teacher, student = ([normal(k + 3 * i, s) for k, s in enumerate(shapes)] for i in (0, 1))
    x = normal(0, (5, n))

    def forward(w):
        first = np.tanh(w[0] @ x)
        second = np.tanh(w[1] @ first)
        return first, second, w[2] @ second

    wanted = forward(teacher)[2]
    mean, square = [0.0] * 3, [0.0] * 3
    losses = []
    for step in range(1, n_steps + 1):
        first, second, out = forward(student)
        losses.append(np.mean((out - wanted) ** 2))
        back = 2 * (out - wanted) / out.size
        back2 = (student[2].T @ back) * (1 - second**2)
        back1 = (student[1].T @ back2) * (1 - first**2)
        for k, slope in enumerate((back1 @ x.T, back2 @ first.T, back @ second.T)):
            mean[k] = 0.9 * mean[k] + 0.1 * slope
            square[k] = 0.999 * square[k] + 0.001 * slope**2
            ahead = mean[k] / (1 - 0.9**step)
            size = np.sqrt(square[k] / (1 - 0.999**step)) + 1e-8
            student[k] = student[k] - rate * (ahead / size + decay * student[k])
    return np.array(losses)
