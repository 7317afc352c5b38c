"""Oracle: ratios of neighbouring steps, by the formula of even spacing in log step."""

import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.training import log_steps


@pytest.mark.parametrize("n_steps, n_evals", [(1, 2), (10, 2), (1000, 50), (100_000, 160)])
def test_a_eval_schedule_runs_from_start_to_end_and_is_dense_at_first(n_steps, n_evals):
    steps = log_steps(n_steps, n_evals)
    assert steps[0] == 0
    assert steps[-1] == n_steps
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= n_evals
    ratios = steps[2:] / steps[1:-1]
    wanted = n_steps ** (1 / max(n_evals - 2, 1))
    # Once steps are far apart rounding no longer shows, and ratios are all alike.
    assert (np.abs(ratios[steps[1:-1] > 100] / wanted - 1) < 0.02).all()


def test_bad_input_gets_one_sentence():
    with pytest.raises(InputError, match="evaluation schedule of 1 points"):
        log_steps(10, 1)
