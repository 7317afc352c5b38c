"""Oracle: arithmetic of Python integers, and counts over all pairs."""

import math
from itertools import product

import numpy as np
import pytest
from oracles.tasks import FORMULAS, modular_label

from lazyrich._base import InputError
from lazyrich.tasks import ModularTask

OPERATIONS = [*FORMULAS, "divide"]


def task(**changes):
    return ModularTask(**({"modulus": 7, "fraction": 0.6, "inputs": "tokens"} | changes))


def rows(x, y):
    """Numbers a, b and their class, of tokens."""
    x, classes = np.asarray(x), np.asarray(y).argmax(1)
    assert (x[:, 2] == 7).all()
    return [(*pair, c) for pair, c in zip(map(tuple, x[:, :2].tolist()), classes, strict=True)]


def both(data):
    return rows(data.x, data.y), rows(data.x_test, data.y_test)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pair_once_with_its_class(operation):
    train, test = both(task(operation=operation).sample(0))
    numbers = range(7)
    expected = [
        (a, b, modular_label(operation, a, b, 7))
        for a, b in product(numbers, numbers)
        if operation != "divide" or b
    ]
    assert sorted(train + test) == expected
    assert len(train) == round(0.6 * len(expected))
    chosen = task(operation=operation)
    assert (chosen.n_train, chosen.n_test) == (len(train), len(test))


def test_vectors_and_tokens_say_the_same():
    tokens, vectors = task().sample(0), task(inputs="onehot").sample(0)
    np.testing.assert_array_equal(tokens.y, vectors.y)
    identity = np.eye(7)
    expected = np.concatenate([identity[tokens.x[:, 0]], identity[tokens.x[:, 1]]], axis=1)
    np.testing.assert_array_equal(vectors.x, expected)
    assert task().vocabulary == 1 + int(tokens.x.max())
    assert task(inputs="onehot").vocabulary is None


@pytest.mark.parametrize("operation", ["add", "multiply", "square_sum", "quadratic"])
def test_unordered_keeps_mirrored_pairs_together(operation):
    sizes = set()
    for seed in range(3):
        train, test = both(task(operation=operation, unordered=True).sample(seed))
        assert {(a, b) for a, b, _ in train} == {(b, a) for a, b, _ in train}
        assert len(set(train + test)) == 49
        assert all(c == modular_label(operation, a, b, 7) for a, b, c in train + test)
        sizes.add(len(train))
    assert sizes == {task(operation=operation, unordered=True).n_train} == {4 + 2 * 13}


def test_ordered_pairs_leak_as_the_documentation_says():
    chosen = ModularTask(modulus=31, fraction=0.6, inputs="tokens")
    data = chosen.sample(0)
    train = {(a, b) for a, b, _ in np.asarray(data.x).tolist()}
    mirrored = [(b, a) in train for a, b, _ in np.asarray(data.x_test).tolist() if a != b]
    error = math.sqrt(0.6 * 0.4 / len(mirrored))
    assert abs(np.mean(mirrored) - 0.6) < 5 * error


@pytest.mark.parametrize("unordered", [False, True])
def test_a_larger_fraction_keeps_the_training_pairs(unordered):
    small, large = (
        set(both(task(fraction=fraction, unordered=unordered).sample(5))[0])
        for fraction in (0.3, 0.7)
    )
    assert small < large


def test_numbers_of_pairs_as_in_the_literature():
    # The transformer on 113 numbers, 30 %, and the perceptron on 23 numbers, 90 %.
    assert ModularTask(modulus=113, fraction=0.3).n_train == 3831
    assert ModularTask(modulus=23, fraction=0.9).n_train == 476


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"fraction": 0.001}, "fraction is 0.001, which leaves 0 of 49 pairs for training"),
        ({"fraction": 0.999}, "leaves 49 of 49 pairs for training; wanted at least one"),
        ({"fraction": 1.0}, "fraction is 1.0, wanted less than 1"),
        ({"fraction": 0.04, "unordered": True}, None),
        ({"operation": "divide", "modulus": 9}, "modulus is 9; division is defined modulo primes"),
        ({"operation": "subtract", "unordered": True}, "subtract is not commutative"),
        ({"operation": "plus"}, "operation is 'plus', wanted 'add', 'subtract'"),
        ({"modulus": 1}, "modulus is 1, wanted greater than or equal to 2"),
    ],
)
def test_what_cannot_be_split_gets_one_sentence(changes, words):
    if words is None:
        assert task(**changes).n_train == 2  # one mirrored pair of 21, none of 7 equal ones
        return
    with pytest.raises(InputError, match=f"^ModularTask cannot be made: .*{words}"):
        task(**changes)
