"""Oracle: the kernel without a budget; what XLA says that the compiled program takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError, ntk
from lazyrich._base import memory_size
from lazyrich.kernels._ntk import _entry
from lazyrich.kernels._ntk._budget import budgets
from lazyrich.kernels._ntk._program_key import Cache
from lazyrich.kernels._predictor_call import predictor_call

RNG = np.random.default_rng(0)
MLP = {
    name: RNG.normal(size=s) / 3 for name, s in {"a": (6, 32), "b": (32, 32), "c": (32, 9)}.items()
}
ODD = {"a": RNG.normal(size=(40, 6)), "v": RNG.normal(size=(40, 9))}
X = RNG.normal(size=(24, 6))


def mlp(params, x):
    """Structured: pairwise factors."""
    return jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]


def odd(params, x):
    """``a`` goes by its Jacobian."""
    return jnp.sin(x[:, None, :] * params["a"] + jnp.cos(params["a"])).sum(-1) @ params["v"]


CASES = {"mlp": (mlp, MLP), "odd": (odd, ODD)}


def taken(compiled):
    found = compiled._measured.memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_stays_within_its_memory_and_is_the_same(
    case, traced, compiles_anew, monkeypatch
):
    predict, params = CASES[case]
    wanted = ntk(predict, params, X, trace_outputs=traced)
    used = []
    make = _entry._Compiled

    def remembered(*arguments):
        used.append(make(*arguments))
        return used[-1]

    monkeypatch.setattr(_entry, "_Compiled", remembered)
    memory = 2**30
    for _ in range(2):
        kernel = ntk(predict, params, X, trace_outputs=traced, memory=memory)
        np.testing.assert_allclose(kernel, wanted, rtol=1e-9, atol=1e-9)
        assert taken(used[-1]) <= memory
        memory = wanted.nbytes + (taken(used[-1]) - wanted.nbytes) * 3 // 4
    assert taken(used[-1]) < taken(used[0])


def test_outputs_are_taken_some_at_a_time_where_nothing_else_helps(compiles_anew, monkeypatch):
    """Nine outputs in four blocks: three, and zeros in the last."""
    predict, params = CASES["odd"]
    wanted = ntk(predict, params, X, X[:5], trace_outputs=True)
    real = _entry.budgets

    def smallest(*arguments, **options):
        return [one for one in real(*arguments, **options) if one.n_output_blocks == 4]

    monkeypatch.setattr(_entry, "budgets", smallest)
    kernel = ntk(predict, params, X, X[:5], trace_outputs=True, memory="1GiB")
    np.testing.assert_allclose(kernel, wanted, rtol=1e-9)
    traced = jax.jit(lambda p: ntk(predict, p, X, X[:5], trace_outputs=True, memory="1GiB"))
    np.testing.assert_allclose(traced(params), wanted, rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_share_of_what_is_free_is_the_budget_where_none_is_given(
    case, compiles_anew, monkeypatch
):
    predict, params = CASES[case]
    wanted = ntk(predict, params, X, trace_outputs=True)
    free, chosen, within = 120_000, [], _entry._fixed_within
    monkeypatch.setattr(_entry, "_COMPILED", Cache(8))
    monkeypatch.setattr(_entry, "free_bytes", lambda device: free)
    monkeypatch.setattr(_entry, "_fixed_within", lambda *a: chosen.append(within(*a)) or chosen[-1])
    kernel = ntk(predict, params, X, trace_outputs=True)
    np.testing.assert_allclose(kernel, wanted, rtol=1e-9, atol=1e-9)
    (fixed,) = chosen
    call = predictor_call(predict, params, X)
    assert _entry._compiled(call, fixed).bytes_taken(call) <= 0.75 * free
    kernel = jax.jit(lambda p: ntk(predict, p, X, trace_outputs=True))(params)
    np.testing.assert_allclose(kernel, wanted, rtol=1e-9, atol=1e-9)


def test_budgets_become_smaller_and_end_with_one_output_at_a_time():
    found = list(budgets(1000, 100, 9, summed=True))
    work = [one.work for one in found if one.n_output_blocks == 1]
    assert work == sorted(work, reverse=True)
    assert work[0] == 16 * 900
    assert [one.n_output_blocks for one in found][-4:] == [2, 4, 8, 9]
    assert all(one.n_output_blocks == 1 for one in budgets(1000, 100, 9, summed=False))


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("lots", "memory is 'lots'; it must be a number of bytes or text such as '2GiB'"),
        (-1, "it must be a number of bytes"),
        (True, "it must be a number of bytes"),
        (10**99, "it must be a number of bytes"),
        (0, "it must be a number of bytes"),
        ("0.1 B", "one byte or more"),
        ("1KB", "The kernel itself takes .* and memory is 1.0 KiB; give more memory"),
        (24 * 24 * 8 + 16, "takes at least .* with the smallest pieces"),
    ],
)
def test_what_is_no_memory_or_too_little_gets_one_sentence(memory, said, unchecked):
    with pytest.raises(InputError, match=said):
        ntk(mlp, MLP, X, trace_outputs=True, memory=memory)


def test_sizes_are_read_as_people_write_them():
    written = [7, np.int64(7), "7", "1.5 kib", "2GB", ".5GiB", "1TB"]
    assert [*map(memory_size, written)] == [7, 7, 7, 1536, 2 * 10**9, 2**29, 10**12]
