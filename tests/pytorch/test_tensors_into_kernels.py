"""Oracle: the same functions on NumPy arrays of the same numbers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich as lz  # noqa: E402
import lazyrich.torch as lzt  # noqa: E402

# The annotations speak of arrays of JAX; anything that holds numbers is taken.
pytestmark = pytest.mark.usefixtures("unchecked")

FUNCTIONS = {
    "kernel_regression": lambda k, y, t: lz.kernel_regression(k[:6, :6], y[:6], k[6:, :6]),
    "lazy_dynamics": lambda k, y, t: lz.lazy_dynamics(k, y, t, learning_rate=1e-3).train,
    "alignment": lambda k, y, t: lz.alignment(k, y),
    "centered_alignment": lambda k, y, t: lz.centered_alignment(k, y),
    "debiased_alignment": lambda k, y, t: lz.debiased_alignment(k, y),
    "chance_alignment": lambda k, y, t: lz.chance_alignment(k),
    "kernel_distance": lambda k, y, t: lz.kernel_distance(k, k[::1] * 2),
    "difficulty": lambda k, y, t: lz.difficulty(k, y),
}


def kernel_and_labels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 30), nn.Tanh(), nn.Linear(30, 1)).double()
    x = torch.randn(9, 8, dtype=torch.float64)
    # Numbers that bfloat16 holds exactly, still positive definite.
    kernel = lzt.ntk(model, x, trace_outputs=True).bfloat16().double()
    return kernel + 4 * torch.eye(9, dtype=torch.float64), x[:, 0].bfloat16().double()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 1e-4)]
)
def test_tensors_are_taken_as_arrays(name, dtype, tolerance):
    kernel, y = kernel_and_labels()
    kernel = kernel.to(dtype)
    times = torch.tensor([1.0, 10.0])
    given = kernel.double().numpy(), y.numpy(), times.numpy()
    wanted = np.asarray(FUNCTIONS[name](*given))
    found = FUNCTIONS[name](kernel, y.to(dtype), times)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=tolerance, atol=tolerance)
    with_gradient = FUNCTIONS[name](kernel.requires_grad_(), y.to(dtype).requires_grad_(), times)
    np.testing.assert_array_equal(np.asarray(with_gradient), np.asarray(found))


def test_kernel_of_a_module_goes_straight_into_regression():
    torch.manual_seed(0)
    model = nn.Linear(4, 1).double()
    x = torch.randn(12, 4, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64) + 1
    kernel = lzt.ntk(model, x[:8], trace_outputs=True)
    to_others = lzt.ntk(model, x[8:], x[:8], trace_outputs=True)
    # The kernel of a linear layer fits any linear function with a constant.
    found = lz.kernel_regression(kernel, y[:8], to_others)
    np.testing.assert_allclose(np.asarray(found), y[8:].numpy(), atol=1e-6)
