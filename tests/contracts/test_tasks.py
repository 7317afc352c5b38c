"""Oracle: what every task promises, checked on each one in the registry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from lazyrich._base import InputError
from lazyrich.tasks import TASKS, AnyTask, TaskData

# A small one of each kind. Those of POOLS are split from a fixed pool; the seed of the
# data changes nothing there, as the split seed does not where both halves are fresh.
SMALL = {
    "polynomial": {"dim": 6, "n_train": 12, "n_test": 7, "n_directions": 2},
    "hermite": {"dim": 6, "n_train": 12, "n_test": 7, "degree": 2},
    "eigenvector": {"dim": 6, "n_train": 12, "n_test": 7, "index": 3},
    "modular": {"modulus": 7},
    "teacher": {"dim": 6, "n_train": 12, "n_test": 7, "widths": (5,), "noise": 0.1},
    "images": {"n_train": 900, "n_test": 897, "subset": "random"},
    "parity": {"dim": 6, "n_train": 12, "n_test": 7, "n_relevant": 2},
    "permutations": {"n_things": 3},
}
POOLS = ["modular", "images", "permutations"]
FRESH = [kind for kind in TASKS if kind not in POOLS]
TOKENS = {"modulus": 7, "inputs": "tokens"}
CASES = [*SMALL.items(), ("modular", TOKENS), ("modular", SMALL["modular"] | {"unordered": True})]

each = pytest.mark.parametrize("kind, fields", CASES)


def sample(kind, fields, seed=0, **changes) -> TaskData:
    return TASKS[kind](**(fields | changes)).sample(seed, kernel=bumps)


def bumps(x):
    return jnp.exp(-jnp.square(x[:, None] - x[None]).sum(-1))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def is_same(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_every_task_is_listed():
    assert set(SMALL) == set(TASKS)
    assert all(task.model_fields["kind"].default == kind for kind, task in TASKS.items())


@each
def test_same_seed_same_data_other_seed_other_data(kind, fields):
    data = sample(kind, fields)
    assert_same(data, sample(kind, fields))
    other = sample(kind, fields, seed=1)
    assert not is_same(data.x, other.x)
    assert not is_same(data.y, other.y)
    assert not is_same(data.x_test, other.x_test)


@each
def test_shapes_are_those_promised(kind, fields):
    task, data = TASKS[kind](**fields), sample(kind, fields)
    n_outputs = () if task.n_outputs is None else (task.n_outputs,)
    for x, y in [(data.x, data.y), (data.x_test, data.y_test)]:
        assert x.shape == (len(x), task.n_inputs)
        assert y.shape == (len(x), *n_outputs)
        assert all(np.isfinite(part).all() for part in (x, y))
        if task.labels == "classes":
            assert ((y == 0) | (y == 1)).all()
            assert (y.sum(1) == 1).all()
        if task.vocabulary is not None:
            assert x.dtype == jnp.int32
            assert 0 <= x.min() <= x.max() < task.vocabulary
    assert (task.n_train, task.n_test) == (len(data.x), len(data.x_test))


@pytest.mark.slow  # compiles every draw twice
@each
def test_numbers_are_in_the_precision_that_jax_works_in(kind, fields):
    for is_double, dtype in [(True, jnp.float64), (False, jnp.float32)]:
        with jax.enable_x64(is_double):
            data = sample(kind, fields)
        floats = [
            part for part in jax.tree.leaves(data) if jnp.isdtype(part.dtype, "real floating")
        ]
        assert len(floats) >= 2
        assert {part.dtype for part in floats} == {jnp.dtype(dtype)}
        assert not any(part.weak_type for part in floats)


@each
def test_json_gives_the_task_back(kind, fields):
    task = TASKS[kind](**fields)
    text = task.model_dump_json()
    assert TASKS[kind].from_json(text) == task
    assert TypeAdapter(AnyTask).validate_json(text) == task
    assert TypeAdapter(AnyTask).validate_python(task) == task


@each
def test_a_kernel_is_needed_where_it_is_promised(kind, fields):
    task = TASKS[kind](**fields)
    if task.labels_from_kernel:
        with pytest.raises(InputError, match="pass kernel="):
            task.sample(0)
    else:
        assert_same(task.sample(0), sample(kind, fields))


def rows(data):
    """Inputs and labels of both sets, as one sorted list of rows."""
    both = [
        np.concatenate([x, y], axis=1) for x, y in [(data.x, data.y), (data.x_test, data.y_test)]
    ]
    return [row.tobytes() for row in both[0]], [row.tobytes() for row in both[1]]


@pytest.mark.parametrize("kind, fields", [case for case in CASES if case[0] in POOLS])
def test_the_split_divides_a_fixed_pool(kind, fields):
    one, other = (sample(kind, fields, split_seed=seed) for seed in (0, 1))
    (train, test), (other_train, other_test) = rows(one), rows(other)
    assert not set(train) & set(test)
    assert sorted(train + test) == sorted(other_train + other_test)
    assert set(train) != set(other_train)
    assert_same(one, sample(kind, fields, seed=5, split_seed=0))
    assert_same(one, sample(kind, fields, split_seed=0, data_seed=5))


@pytest.mark.parametrize("kind", FRESH)
def test_fresh_data_follow_the_data_seed_alone(kind):
    fields = SMALL[kind]
    one = sample(kind, fields, data_seed=3)
    assert_same(one, sample(kind, fields, seed=8, data_seed=3))
    assert_same(one, sample(kind, fields, data_seed=3, split_seed=4))
    assert_same(one, sample(kind, fields, seed=3))
    assert not is_same(one.x, sample(kind, fields, data_seed=4).x)


@pytest.mark.parametrize("kind", [kind for kind in FRESH if kind != "eigenvector"])
def test_more_training_points_change_neither_target_nor_test_set(kind):
    fields = SMALL[kind]
    large, small = sample(kind, fields), sample(kind, fields, n_train=7)
    assert (len(small.x), len(large.x)) == (7, 12)
    assert_same(tuple(small[2:]), tuple(large[2:]))


@pytest.mark.parametrize("kind", FRESH)
def test_no_two_arrays_come_from_one_key(kind):
    """Arrays that are drawn from one key are each other's multiples where they overlap."""
    fields = SMALL[kind] | {"dim": 40, "n_train": 40, "n_test": 40}
    if kind == "teacher":
        fields |= {"widths": (40, 40), "target_dim": 40, "noise": 0.0}
    if kind == "polynomial":
        fields |= {"n_directions": 40}
    data = sample(kind, fields)
    drawn = [np.ravel(part) for part in jax.tree.leaves((data.x, data.x_test, data.target))]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            n = min(len(one), len(other))
            if n >= 40:
                correlation = np.corrcoef(one[:n], other[:n])[0, 1]
                assert abs(correlation) < 5 / n**0.5


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [-1, 2**32, 2**40, 1.0, True, "1", None, [3]])
@each
def test_a_seed_that_would_stand_for_another_is_refused(kind, fields, seed):
    with pytest.raises(InputError, match=r"^seed is"):
        sample(kind, fields, seed=seed)


@pytest.mark.usefixtures("unchecked")
@each
def test_a_seed_of_any_whole_type_is_the_same_seed(kind, fields):
    assert_same(sample(kind, fields, seed=3), sample(kind, fields, seed=np.int64(3)))
