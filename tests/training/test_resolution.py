"""Oracle: runs in double precision, and the exact dynamics, which carry the displacement.

An output scale so large that single precision loses what training changes is refused;
the largest that is taken gives the curve of double precision.
"""

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.training import preset, train

FEW = {"n_steps": 100, "n_evals": 4, "metrics": []}


def losses(alpha, **changes):
    experiment = preset("polynomial").changed({"scaling.alpha": alpha, **FEW, **changes})
    return train(experiment).train_loss


def test_what_single_precision_cannot_resolve_is_refused():
    with pytest.raises(InputError, match=r"known to .* of the labels only.*float64, or alpha up"):
        losses(1e6)


def test_the_largest_scale_that_is_taken_is_resolved():
    with pytest.raises(InputError) as refused:
        losses(1e6)
    most = float(str(refused.value).rsplit("up to ", 1)[1].rstrip("."))
    assert most > 1e4
    single, double = losses(0.9 * most), losses(0.9 * most, precision="float64")
    np.testing.assert_allclose(single, double, rtol=0.02)


def test_exact_dynamics_resolve_any_scale_that_can_be_held():
    changes = {"n_steps": 100, "n_evals": 4, "n_probe": 0}
    large, larger = (
        train(preset("committee").changed({"alpha": alpha, **changes})).train_loss
        for alpha in (1e6, 1e15)
    )
    np.testing.assert_allclose(large, larger, rtol=1e-4)


@pytest.mark.parametrize("alpha", [1e30, 1e300, 1e-30, 1e-300])
def test_a_scale_beyond_the_range_of_the_precision_is_refused(alpha):
    for name, path in (("polynomial", "scaling.alpha"), ("committee", "alpha")):
        with pytest.raises(InputError, match="leaves the range of float32; choose it between"):
            preset(name).changed({path: alpha})
