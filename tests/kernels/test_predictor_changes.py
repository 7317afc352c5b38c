"""Oracle: closed forms of linear networks whose meaning changes between two calls."""

import dataclasses
import gc
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich.kernels import (
    check_predictor,
    explain_ntk,
    linearize,
    ntk,
    ntk_operator,
    richness,
)
from lazyrich.kernels._ntk import _entry as module

ONE, X = jnp.ones(1), jnp.ones((1, 1))
SCALE = 1.0


def scaled(p, x):
    return SCALE * (x @ p)


def set_scale(value):
    globals()["SCALE"] = value


def kernel(predict):
    return ntk(predict, ONE, X)


def by_operator(predict):
    return ntk_operator(predict, ONE, X)(jnp.ones(1))


def by_slope(predict):
    return linearize(predict, ONE)(2 * ONE, X) ** 2 / 4


def by_kernel_of_linearized(predict):
    return ntk(linearize(predict, ONE), ONE, X)


@pytest.mark.parametrize("measure", [kernel, by_operator, by_slope, by_kernel_of_linearized])
def test_a_rebound_global_is_seen(measure):
    for scale in (1.0, 3.0, 1.0):
        set_scale(scale)
        np.testing.assert_allclose(np.ravel(measure(scaled))[0], scale**2, rtol=1e-12)


def test_richness_explanations_and_checks_see_the_predictor_of_now():
    power = [1]

    def predict(p, x):
        return (x @ p) ** power[0] if power[0] else x @ jax.lax.stop_gradient(p)

    assert float(richness(predict, ONE, 2 * ONE, X).kernel_distance) == 0
    assert explain_ntk(predict, ONE, X)["params"].kind != "unused"
    check_predictor(predict, ONE, X)
    power[0] = 2
    # K₀ = (2·1)² and K = (2·2)² on the input 1.
    np.testing.assert_allclose(richness(predict, ONE, 2 * ONE, X).kernel_distance, 3.0)
    power[0] = 0
    assert explain_ntk(predict, ONE, X)["params"].kind == "unused"
    power[0] = jnp.nan
    with pytest.raises(ValueError, match="NaN"):
        check_predictor(predict, ONE, X)


class Layer:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, p, x):
        return self.scale * (x @ p)

    def method(self, p, x):
        return self(p, x)

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


def test_changed_attributes_and_arrays_changed_in_place_are_seen():
    layer, array = Layer(1.0), np.ones(1)
    assert float(kernel(layer)[0, 0]) == 1
    operator = ntk_operator(lambda p, x: x @ (array * p), ONE, X)
    layer.scale = 3.0
    assert float(kernel(layer)[0, 0]) == 9
    assert float(kernel(layer.method)[0, 0]) == 9
    assert float(kernel(lambda p, x: x @ (array * p))[0, 0]) == 1
    array[0] = 3.0
    assert float(kernel(lambda p, x: x @ (array * p))[0, 0]) == 9
    # An operator is the predictor as it was when the operator was made.
    assert float(operator(jnp.ones(1))[0]) == 1


def test_objects_that_equal_one_another_are_not_confused():
    assert [float(kernel(Layer(scale))[0, 0]) for scale in (1.0, 2.0)] == [1, 4]
    linearized_runs = [linearize(Layer(scale), ONE) for scale in (1.0, 2.0)]
    call = jax.jit(lambda linearized: linearized(2 * ONE, X))
    assert [float(call(linearized)[0]) for linearized in linearized_runs] == [2, 4]


@dataclasses.dataclass
class Unhashable:
    scale: float

    def __call__(self, p, x):
        return self.scale * (x @ p)


def test_a_predictor_without_a_hash_works_everywhere():
    predict = Unhashable(3.0)
    assert float(kernel(predict)[0, 0]) == 9
    assert float(by_operator(predict)[0]) == 9
    assert float(kernel(linearize(predict, ONE))[0, 0]) == 9
    linearized = jax.jit(lambda linearized: linearized(ONE, X))(linearize(predict, ONE))
    assert float(linearized[0]) == 3
    check_predictor(predict, ONE, X)
    assert float(richness(predict, ONE, 2 * ONE, X).kernel_distance) == 0
    assert explain_ntk(predict, ONE, X)["params"].kind == "contraction"


def rule(scale):
    """x ↦ x with a derivative of its own."""

    @jax.custom_jvp
    def identity(x):
        return x

    identity.defjvp(lambda primals, tangents: (primals[0], scale * tangents[0]))
    return identity


def rule_back(scale):
    @jax.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, g: (scale * g,))
    return identity


@pytest.mark.parametrize("make", [rule, rule_back])
@pytest.mark.parametrize("kind", [float, jnp.asarray, np.array])
def test_equal_functions_with_unlike_rules_are_not_confused(make, kind):
    for scale in (1.0, 3.0):
        identity = make(kind(scale))
        value = kernel(lambda p, x: identity(x @ p))  # noqa: B023
        np.testing.assert_allclose(value, scale**2, rtol=1e-6)


def test_a_rule_that_reads_a_changed_value_is_asked_again():
    scale = [1.0]

    @jax.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, g: (scale[0] * g,))
    for value in (1.0, 3.0):
        scale[0] = value
        np.testing.assert_allclose(kernel(lambda p, x: identity(x @ p)), value**2, rtol=1e-12)


def count_compilations(monkeypatch):
    made = []
    inner = module._kernel

    def counted(*arguments):
        made.append(0)
        return inner(*arguments)

    monkeypatch.setattr(module, "_kernel", counted)
    return made


def test_new_functions_of_one_program_compile_once(monkeypatch):
    made = count_compilations(monkeypatch)
    weights, x = jnp.ones((3, 2)), jnp.ones((2, 3))
    for alpha in jnp.linspace(1.0, 2.0, 5):
        mask = np.asarray([1.0, float(alpha), 0.0])

        def predict(p, x, alpha=alpha, mask=mask):
            return alpha * jax.nn.relu((x * mask) @ p)

        value = ntk(predict, weights, x, trace_outputs=True)
        np.testing.assert_allclose(value, 2 * alpha**2 * (1 + alpha**2), rtol=1e-12)
    assert len(made) == 1


def test_captured_arrays_are_not_kept_alive():
    array = jnp.arange(300_000.0)  # copies of small ones may be, to be known again
    seen = weakref.ref(array)
    float(ntk(lambda p, x: x @ (p * array[:1]), ONE, X)[0, 0])
    del array
    gc.collect()
    assert seen() is None


def test_threads_do_not_mix_their_predictors():
    results = {}

    def work(k):
        results[k] = [float(ntk(lambda p, x: k * (x @ p), ONE, X)[0, 0]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: [k**2] * 3 for k in range(1, 5)}


def test_numbers_of_unlike_types_are_unlike_programs():
    for factor, wanted in ((1, 1.0), (True, 1.0), (2, 4.0), (2.0, 4.0), (-0.0, 0.0), (0.0, 0.0)):
        value = ntk(lambda p, x: x @ (factor * p), ONE, X)  # noqa: B023
        assert float(value[0, 0]) == wanted


# --- several rows: the program of one row is kept and is not traced again -------------------

ROWS = jnp.array([[1.0], [2.0]])
GRAM = np.array([[1.0, 2.0], [2.0, 4.0]])


def test_a_repeated_call_traces_once():
    n_rows = []

    def predict(p, x):
        n_rows.append(len(x))
        return 5 * (x @ p)

    for _ in range(3):
        ntk(predict, ONE, ROWS)
    assert n_rows.count(1) == 1
    assert n_rows.count(2) == 3


class Held:
    """A number in several places where it can change between two calls."""

    def __init__(self):
        self.array, self.number, self.jax = np.ones(1), 1.0, jnp.ones(1)
        self.inner = jax.jit(lambda x: x * self.fresh(x))

    def set(self, value):
        self.array[0] = self.number = value
        self.jax = jnp.full(1, value)

    def fresh(self, x):
        return np.full(x.shape[-1], self.number)


CHANGING = {
    "array in place": lambda held, p, x: x @ (held.array * p),
    "another array": lambda held, p, x: x @ (held.jax * p),
    "array made anew": lambda held, p, x: x @ (held.fresh(p) * p),
    "number": lambda held, p, x: x @ (held.number * p),
    "new inner function": lambda held, p, x: jax.jit(lambda a: a * held.array)(x) @ p,
    "inner function of a new array": lambda held, p, x: jax.jit(lambda a: a * held.fresh(a))(x) @ p,
    "rule": lambda held, p, x: rule(held.number)(x @ p),
    "rule with an array": lambda held, p, x: rule(held.array)(x @ p),
    "rule inside": lambda held, p, x: jax.jit(lambda a: rule(held.number)(a))(x @ p),
    "two arrays": lambda held, p, x: x @ (held.jax * p) - x @ (np.zeros(1) * held.array * p),
}


@pytest.mark.parametrize("name", CHANGING)
def test_what_changed_is_seen_where_one_row_is_not_traced_again(name):
    held = Held()
    for value in (1.0, 3.0, 1.0, -2.0):
        held.set(value)
        kernel = ntk(lambda p, x: CHANGING[name](held, p, x), ONE, ROWS)
        np.testing.assert_allclose(kernel, value**2 * GRAM, rtol=1e-6)


def test_inputs_and_parameters_of_one_program_are_not_confused():
    a, b, c = jnp.float32(2.0), jnp.array([1.0, 3.0]), jnp.array([5.0, 7.0])
    kernel = ntk(lambda p, x: p * x[0] * x[1], a, (b, c))
    np.testing.assert_allclose(kernel, np.outer(b * c, b * c), rtol=1e-6)
    with pytest.raises(ValueError, match="batch"):
        ntk(lambda p, x: p[0] * p[1] * x, [a, b], c)
