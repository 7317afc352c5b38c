"""Oracle: ``torch.nn.functional.unfold``, and patches taken entry by entry."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from lazyrich.torch._patches import patches

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
