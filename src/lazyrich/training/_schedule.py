"""The evaluation schedule: at which steps to record."""

import math

import numpy as np
from jaxtyping import Int

from lazyrich._base import InputError, require_whole


def log_steps(n_steps: int, n_evals: int) -> Int[np.ndarray, " s"]:
    """Evaluation steps that are dense at the start and evenly spaced in log step after it.

    Args:
        n_steps: the last step.
        n_evals: at most how many evaluation steps, with step 0 and the last step among them.

    Returns:
        Increasing step numbers from 0 to ``n_steps``; fewer than ``n_evals`` where
        rounding makes neighbours equal.

    Raises:
        InputError: if one of them is not whole, ``n_steps`` below 1 or ``n_evals`` below 2.

    Example:
        >>> log_steps(1000, 5).tolist()
        [0, 1, 10, 100, 1000]
    """
    require_whole(n_steps=n_steps, n_evals=n_evals)
    if n_steps < 1 or n_evals < 2:
        raise InputError(
            f"An evaluation schedule of {n_evals} points up to step {n_steps} is empty; "
            "ask for at least 2 points and 1 step."
        )
    # Neighbours at the end are the furthest apart: where they are less than 1 apart, every
    # step is one, and however many points are asked for, so many there are.
    if n_evals > 2 and -n_steps * math.expm1(-math.log(n_steps) / (n_evals - 2)) < 0.99:
        return np.arange(n_steps + 1)
    positive = np.geomspace(1, n_steps, n_evals - 1) if n_evals > 2 else np.array([n_steps])
    return np.unique(np.concatenate([[0], np.round(positive).astype(int)]))
