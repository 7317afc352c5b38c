"""Oracle: products of permutation matrices, which know nothing of indices into a table."""

import itertools

import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.tasks import PermutationTask


@pytest.mark.parametrize("n", [2, 3, 4])
def test_labels_are_products_of_permutation_matrices(n):
    data = PermutationTask(n_things=n, fraction=0.5, inputs="tokens").sample(0)
    matrices = np.array([np.eye(n)[:, list(p)] for p in itertools.permutations(range(n))])
    for x, y in ((data.x, data.y), (data.x_test, data.y_test)):
        a, b = np.asarray(x)[:, :2].T
        np.testing.assert_array_equal(matrices[a] @ matrices[b], matrices[np.argmax(y, 1)])


def test_sizes_of_s5():
    task = PermutationTask(inputs="tokens")
    assert (task.n_train + task.n_test, task.n_outputs, task.vocabulary) == (14400, 120, 121)
    with pytest.raises(InputError, match="leaves 0 of 4 pairs"):
        PermutationTask(n_things=2, fraction=0.1)
