"""Oracle: counts of operations by hand; what XLA says that it holds; what stands in files."""

import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError, ntk
from lazyrich._base import seal
from lazyrich.kernels import explain_ntk, measure_rates
from lazyrich.kernels._ntk import _rates
from lazyrich.kernels._ntk._peak import peak_bytes
from lazyrich.kernels._ntk._planner import make_plan, with_jacobians_alone
from lazyrich.kernels._ntk._prediction import predicted
from lazyrich.kernels._ntk._work import Rates, Work, work_of

RNG = np.random.default_rng(0)
SOME = Rates(*map(float, range(1, 9)))


def counted(function, *shapes):
    return work_of(jax.make_jaxpr(function)(*(jnp.ones(s, jnp.float32) for s in shapes)).jaxpr)


COUNTS = {
    "product": (
        lambda a, b: a @ b, [(3, 4), (4, 5)],
        Work(products=60, operands=12 + 20 + 15, operations=1)),
    "batch of products": (
        lambda a, b: a @ b, [(2, 3, 4), (2, 4, 5)],
        Work(products=120, operands=24 + 40 + 30, batches=2, operations=1)),
    "entries": (lambda a: jnp.tanh(a) * a, [(6,)], Work(entries=6, functions=6)),
    "sum": (lambda a: a.sum(0), [(6, 5)], Work(operands=30, operations=1)),
    # Two numbers count the turns.
    "loop": (
        lambda a: jax.lax.fori_loop(0, 7, lambda _, x: x * x, a), [(6,)],
        Work(entries=7 * (6 + 2))),
    "convolution": (
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID"),
        [(2, 3, 5, 5), (4, 3, 2, 2)],
        Work(operands=150 + 2 * 4 * 16, convolutions=2 * 16 * 4 * 12, operations=1)),
    "double precision": (  # the product reads its operand transposed
        lambda a: (a @ a.T).astype(jnp.float64) * 2, [(3, 4)],
        Work(products=36, operands=12 + 12 + 9, entries=36, operations=1)),
    "transposed": (lambda a: a.transpose(2, 0, 1), [(2, 3, 4)], Work(moved=24, operations=1)),
    "nothing moves": (lambda a: a.transpose(1, 2, 0), [(1, 3, 4)], Work()),
    "cut": (lambda a: a[2:5], [(6, 4)], Work(entries=12)),
    "outer product": (lambda a, b: jnp.einsum("i,j->ij", a, b), [(6,), (4,)], Work(entries=24)),
    "outer product, added": (
        lambda a, b, c: jnp.einsum("i,j->ij", a, b) + c, [(6,), (4,), (6, 4)], Work(entries=24)),
    "more than a cache holds": (
        lambda a: a.transpose(1, 2, 0), [(2, 2**9, 2**9)], Work(moved=3 * 2**19, operations=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_operations_are_counted_as_by_hand(name):
    function, shapes, wanted = COUNTS[name]
    assert counted(function, *shapes) == wanted


def test_seconds_are_counts_over_rates():
    work = Work(2, 0, 0, 8, 0, 0, 0, 4)
    assert work.seconds(SOME) == 2 / 1 + 8 / 4 + 4 / 8
    assert (work + work.times(2)).seconds(SOME) == pytest.approx(3 * work.seconds(SOME))


def test_memory_is_what_lies_there_at_the_same_time():
    def function(a):  # (8, 8) of eight bytes: each product is held until the next is made
        for _ in range(5):
            a = jnp.tanh(a @ a)
        return a

    closed = jax.make_jaxpr(function)(jnp.ones((8, 8)))
    # A product, and its entrywise function, which is an operand of the next.
    assert 2 * 512 <= peak_bytes(closed.jaxpr) <= 3 * 512


def test_what_a_product_reads_in_another_shape_is_held():
    closed = jax.make_jaxpr(lambda a: jnp.tanh(a).reshape(64, 8) @ jnp.ones((8, 1)))(
        jnp.ones((8, 64))
    )
    assert peak_bytes(closed.jaxpr) >= 512 * 8


def mlp(p, x):
    return jnp.tanh(jnp.tanh(x @ p["a"]) @ p["b"]) @ p["c"]


MLP = {
    name: jnp.asarray(RNG.normal(size=s))
    for name, s in {"a": (30, 64), "b": (64, 64), "c": (64, 5)}.items()
}
X = RNG.normal(size=(200, 30))


def test_an_explanation_predicts_time_and_memory(compiles_anew):
    found = explain_ntk(mlp, MLP, X, trace_outputs=True)
    run = jax.jit(lambda p: ntk(mlp, p, X, trace_outputs=True)).lower(MLP).compile()
    taken = run.memory_analysis().temp_size_in_bytes + 200 * 200 * 8
    assert taken / 2 < found.n_bytes < 2 * taken
    assert 0 < found.seconds < found.jacobian_seconds
    assert found.n_bytes < found.jacobian_bytes
    assert not found.has_measured_rates
    # g (200, 5, 64) and h (200, 64) of eight bytes.
    assert found["['b']"].n_bytes == 200 * 8 * (5 * 64 + 64)
    text = str(found)
    assert "predicted for 200 rows: " in text
    assert "by the rates of the package (see measure_rates)" in text


@pytest.mark.parametrize("slow", ["products", "operands", "convolutions"])
def test_no_plan_is_predicted_to_take_longer_than_jacobians(slow):
    """Whatever is slow; near a tie (1.5) factors are taken, which need less memory."""
    rates = Rates(**(dict.fromkeys(asdict(SOME), 1e9) | {slow: 1e4}))
    x = jnp.ones((100, 64))

    def predict(p, x):
        h = jnp.tanh(x.reshape(16, 4) @ p[0]).mean(0)
        return jnp.tanh(h @ p[1])

    params = [jnp.ones((4, 8)), jnp.ones((8, 3))]
    plan = make_plan(predict, params, x[0], traced=True, n_rows=100, rates=rates)
    # On sixteen positions a pair takes 16² (4 + 3·8) multiplications, by its Jacobian 3·32.
    assert plan.formed or plan.explicit
    of = lambda plan: predicted(plan, params, x, rates, traced=True, free=None)  # noqa: E731
    assert of(plan).seconds <= 1.5 * of(with_jacobians_alone(plan)).seconds


# --- the file of measured rates ----------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of one's own, and a device whose rates are known."""
    monkeypatch.setenv("LAZYRICH_CACHE", str(tmp_path))
    monkeypatch.setattr(_rates, "measured_rates", lambda: SOME)
    _rates.current_rates.cache_clear()
    yield tmp_path
    _rates.current_rates.cache_clear()


def test_measured_rates_are_kept_and_used(cache):
    assert not _rates.are_measured()
    assert measure_rates() == SOME
    assert _rates.current_rates() == SOME
    _rates.current_rates.cache_clear()  # as in another process
    assert _rates.are_measured()
    assert explain_ntk(mlp, MLP, X[:2]).has_measured_rates
    assert [path.name for path in cache.iterdir()] == ["ntk-rates.json"]


def test_nothing_is_measured_or_written_unasked(cache, monkeypatch):
    monkeypatch.setattr(_rates, "measured_rates", lambda: pytest.fail("measured"))
    ntk(mlp, MLP, X[:3])
    explain_ntk(mlp, MLP, X[:3])
    assert not [*cache.iterdir()]


def changed(content, what):
    device = _rates.device_name()
    rates = asdict(SOME)
    if what == "cut off":
        return content[:-20]
    if what == "one byte":
        return content.replace(b"1", b"2", 1)
    stored = {
        "another device": {"format": 1, "devices": {device + " of another kind": rates}},
        "another format": {"format": 2, "devices": {device: rates}},
        "a rate is missing": {"format": 1, "devices": {device: {"products": 1.0}}},
        "a rate of zero": {"format": 1, "devices": {device: rates | {"moved": 0.0}}},
        "no number": {"format": 1, "devices": {device: rates | {"moved": "1"}}},
        "a list": [1],
        "no devices": {"format": 1, "devices": 3},
    }[what]
    return seal(json.dumps(stored).encode(), "kernel rates")


@pytest.mark.parametrize(
    "what",
    ["cut off", "one byte", "another device", "another format", "a rate is missing",
     "a rate of zero", "no number", "a list", "no devices"],
)  # fmt: skip
def test_what_is_damaged_or_of_another_device_is_ignored(cache, what):
    packaged = _rates.current_rates()
    measure_rates()
    path = cache / "ntk-rates.json"
    path.write_bytes(changed(path.read_bytes(), what))
    _rates.current_rates.cache_clear()
    assert _rates.current_rates() == packaged


def test_a_file_of_somebody_else_stays(cache):
    path = cache / "ntk-rates.json"
    path.write_text("mine")
    with pytest.raises(InputError, match="only a file of kernel rates that lazyrich wrote"):
        measure_rates()
    assert path.read_text() == "mine"
    path.unlink()
    (cache / "elsewhere").write_text("mine")
    path.symlink_to(cache / "elsewhere")
    with pytest.raises(InputError, match="a link is there"):
        measure_rates()
    assert (cache / "elsewhere").read_text() == "mine"


@pytest.mark.slow
def test_rates_are_measured_in_seconds():
    from lazyrich.kernels._ntk._calibration import measured_rates

    assert all(1e3 < rate < 1e15 for rate in asdict(measured_rates()).values())
