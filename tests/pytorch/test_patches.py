"""Oracle: ``torch.nn.functional.unfold``, and patches taken entry by entry."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from lazyrich.torch._patches import depthwise_gradients, patches

TWO = [(1, 1), (2, 1), (2, 3)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (3, 3), (1, 3)])
def test_patches_of_images_are_those_of_unfold(size, layout):
    n_tried = 0
    for height, width, stride, padding, dilation in itertools.product(
        (3, 6, 9), (2, 3, 8), TWO, [(0, 0), (1, 1), (0, 2)], TWO
    ):
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        x = torch.randn(2, 3, height, width).to(memory_format=layout)
        try:
            wanted = F.unfold(x, size, **how)
        except RuntimeError:
            continue  # the filter is larger than the image
        n_tried += 1
        assert torch.equal(patches(x, size=size, **how), wanted.transpose(1, 2))
    assert n_tried > 100


@pytest.mark.parametrize("n_dims", [1, 3])
def test_patches_in_one_and_three_dimensions(n_dims):
    x = torch.randn(2, 3, *(7, 5, 6)[:n_dims])
    how = {"stride": (2, 1, 1), "padding": (1, 0, 2), "dilation": (1, 2, 1)}
    how = {name: value[:n_dims] for name, value in how.items()}
    size = (3, 2, 1)[:n_dims]
    # A convolution whose filters are unit vectors returns the entries one by one.
    unit = torch.eye(3 * torch.Size(size).numel()).reshape(-1, 3, *size)
    convolution = {1: F.conv1d, 3: F.conv3d}[n_dims]
    wanted = convolution(x, unit, **how).flatten(2).transpose(1, 2)
    assert torch.equal(patches(x, size=size, **how), wanted)


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_gradients_of_convolutions_channel_by_channel(n_dims):
    """Those of autograd, row by row, also of images larger than what is covered."""
    convolution = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n_dims]
    n_tried = 0
    for size, stride, padding, dilation, k in itertools.product(
        [(3, 2, 1), (1, 3, 2)], [(1, 1, 1), (2, 3, 2)], [0, 1], [(1, 1, 1), (2, 1, 2)], [1, 2]
    ):
        how = {"stride": stride[:n_dims], "padding": (padding,) * n_dims}
        how["dilation"] = dilation[:n_dims]
        x = torch.randn(4, 3, *(9, 8, 7)[:n_dims], dtype=torch.float64)
        weight = torch.randn(3 * k, 1, *size[:n_dims], dtype=torch.float64, requires_grad=True)
        made = convolution(x, weight, groups=3, **how)
        g = torch.randn_like(made)
        found = depthwise_gradients(x, g, size=size[:n_dims], **how)
        for row in range(4):
            (wanted,) = torch.autograd.grad(made[row], weight, g[row], retain_graph=True)
            torch.testing.assert_close(found[row], wanted.reshape(3 * k, -1))
        n_tried += 1
    assert n_tried == 32


def test_gradients_of_half_precision_are_summed_in_single():
    x, g = (torch.randn(2, 3, 20, 20).bfloat16() for _ in range(2))
    how = {"size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    found = depthwise_gradients(x, g, **how)
    wanted = depthwise_gradients(x.double(), g.double(), **how)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-4)
