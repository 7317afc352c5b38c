"""Oracle: JAX's own evaluation of the function; counts of operations known by construction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich.kernels._ntk._trace import trace


def names(program):
    return [step.name for step in program.steps]


def run(function, *arguments, opens_loops=True):
    """The flat program, after its values have been found equal to the function's."""
    program = trace(function, *arguments, opens_loops=opens_loops)
    values = program.run(jax.tree.leaves(arguments))
    wanted = jax.tree.leaves(function(*arguments))
    for slot, value in zip(program.outputs, wanted, strict=True):
        np.testing.assert_allclose(values[slot], value, rtol=1e-12, atol=1e-12)
    return program


def draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape) / 2)


W, X = draw(4, 4), draw(3, 4, 1)[:, :, 0]


@jax.checkpoint
def dense(w, x):
    return jax.jit(lambda x: jnp.tanh(x @ w))(x)


ONCE = {
    "a product": lambda w, x: (x @ w) + 0.1 * (x @ w) ** 2 - jnp.sin(x @ w),
    "through its transpose": lambda w, x: x @ w.T + jnp.einsum("nd,kd->nk", x, w) ** 2,
    "another notation": lambda w, x: x @ w + jnp.tanh(jnp.einsum("nd,dk->nk", x, w)),
    "rows one by one": lambda w, x: jax.vmap(lambda r: r @ w)(x) * jax.vmap(lambda r: r @ w)(x),
    "checkpoints": lambda w, x: dense(w, x) * jnp.sin(dense(w, x)),
    "commuted": lambda w, x: jnp.sin((1 + x) @ w) * jnp.cos((x + 1) @ w),
    "activations": lambda w, x: jnp.sin(jax.nn.relu(x) @ w) + jax.nn.relu(x) @ w,
}  # fmt: skip


@pytest.mark.parametrize("name", ONCE)
def test_what_is_written_twice_is_computed_once(name):
    assert names(run(ONCE[name], W, X)).count("dot_general") == 1


def test_unlike_operations_stay_apart():
    def function(w, x):
        return (
            x @ w + x @ w.T + (2 * x) @ w + x**2 + x**3.0 + jnp.sum(x, 1, keepdims=True)
            + jax.nn.relu(x) + jax.nn.silu(x) + jnp.float32(1) * x + np.float64(1.0)
            - x - (w[0] - x)
        )  # fmt: skip

    found = names(run(function, W, X))
    assert found.count("dot_general") == 3
    assert found.count("sub") == 3


def test_random_numbers_of_one_key_are_drawn_once():
    def function(x):
        key = jax.random.key(0)
        noise = jax.random.normal(jax.random.fold_in(key, 1), x.shape)
        return x * noise + jax.random.normal(jax.random.fold_in(key, 1), x.shape)

    assert names(run(function, X)).count("random_bits") == 1


def test_two_rules_of_equal_values_stay_apart():
    def with_rule(factor):
        @jax.custom_jvp
        def sine(x):
            return jnp.sin(x)

        sine.defjvp(lambda p, t: (jnp.sin(p[0]), factor * t[0]))
        return sine

    program = run(lambda x: with_rule(2.0)(x) + with_rule(3.0)(x), X)
    assert names(program).count("custom_jvp_call") == 2
    assert (
        names(run(lambda x: with_rule(2.0)(x) + with_rule(2.0)(x), X)).count("custom_jvp_call") == 1
    )


def test_what_reaches_no_output_is_dropped():
    assert names(run(lambda w, x: (jnp.exp(x @ w), x + 1)[1], W, X)) == ["add"]


def layers(stack, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), h.sum()), x, stack)


LOOPS = {
    "layers": layers,
    "layers backwards": lambda stack, x: jax.lax.scan(
        lambda h, w: (jnp.tanh(h @ w), h[0]), x, stack, reverse=True
    ),
    "a counter": lambda stack, x: jax.lax.fori_loop(0, 4, lambda k, h: jnp.sin(h @ stack[k]), x),
    "a counter and a choice": lambda stack, x: jax.lax.fori_loop(
        0, 4, lambda k, h: jax.lax.cond(k % 2 == 0, jnp.tanh, jnp.sin, h @ stack[3 - k]), x
    ),
    "a loop in a loop": lambda stack, x: jax.lax.scan(
        lambda h, w: (jax.lax.fori_loop(0, 2, lambda _, h: jnp.tanh(h @ w), h), None), x, stack
    )[0],
    "no carry": lambda stack, x: jax.lax.map(lambda w: jnp.tanh(x @ w), stack).sum(0),
    "checkpointed layers": lambda stack, x: jax.lax.scan(
        jax.checkpoint(lambda h, w: (jnp.tanh(h @ w), None)), x, stack
    )[0],
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_over_few_steps_are_written_out(name):
    program = run(LOOPS[name], draw(4, 4, 4), X)
    assert not {"scan", "while", "cond", "dynamic_slice"} & set(names(program))


def test_long_loops_stay_loops():
    def function(w, x):
        return jax.lax.fori_loop(0, 50, lambda _, h: jnp.tanh(h @ w), x)

    assert "scan" in names(run(function, W, X))
    assert "scan" in names(run(layers, draw(4, 4, 4), X, opens_loops=False))
    assert "scan" in names(run(layers, draw(4, 4, 4)[:0], X))
