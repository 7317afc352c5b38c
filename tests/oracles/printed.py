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
