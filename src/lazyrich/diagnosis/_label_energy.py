"""Do the labels fit the kernel better than chance? yᵀKy against permuted labels."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr

from ._evidence import Labels, Snapshot, permuted
from ._kernel_change import centered_kernel

N_PERMUTATIONS = 16
"""Of labels that are pulled back to parameters, one backward pass each."""

_N_CHEAP = 199
"""Of labels against a kernel that is there."""


class LabelFit(NamedTuple):
    """The energy of the labels in a kernel beside what permuted labels have.

    Attributes:
        ratio: yᵀKy over the mean of the permuted; 1 by chance.
        z_score: distance from that mean in standard deviations; 0 by chance.
        p_value: the chance of as large an energy: by counting if there are 99
            permutations or more, otherwise by Student's t.
    """

    ratio: float
    z_score: float
    p_value: float


def label_fit(snapshot: Snapshot, labels: Labels, seed: int = 0) -> LabelFit | None:
    """The energy of the labels in a snapshot's kernel; None if nothing is known of it."""
    if snapshot.kernel is not None:
        value, null = exact_energies(snapshot.kernel, labels, _N_CHEAP, seed)
    else:
        value, null = snapshot.label_energy, snapshot.permuted_energy
    if len(null) < 2 or not np.isfinite(value):
        return None
    return against(value, null)


def exact_energies(
    kernel: np.ndarray, labels: Labels, n_permutations: int, seed: int
) -> tuple[float, np.ndarray]:
    """yᵀKy of the centred labels, and the same of permuted ones, from a kernel (n, n, c, c)."""
    n, _, c, _ = kernel.shape
    matrix = centered_kernel(kernel).transpose(0, 2, 1, 3).reshape(n * c, n * c)
    rows = permuted(labels, n_permutations, seed).reshape(-1, n * c)
    energies = ((rows @ matrix) * rows).sum(1)
    return float(energies[0]), energies[1:]


def against(value: float, null: np.ndarray) -> LabelFit:
    """An energy against its null.

    Example:
        >>> fit = against(3.0, np.array([1.0, 2.0, 3.0]))
        >>> fit.ratio, fit.z_score
        (1.5, 1.0)
    """
    b, mean, deviation = len(null), float(null.mean()), float(null.std(ddof=1))
    # Labels that no permutation changes (a kernel or labels that are constant) fit by chance.
    if not deviation > 1e-9 * abs(mean):
        return LabelFit(1.0, 0.0, 1.0)
    z = (value - mean) / deviation
    if b >= 99:
        p = (1 + int((null >= value).sum())) / (1 + b)
    else:
        p = float(stdtr(b - 1, -z / np.sqrt(1 + 1 / b)))
    return LabelFit(value / mean, z, p)
