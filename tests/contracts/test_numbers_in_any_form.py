"""Oracle: each public function itself on the same numbers in float64 NumPy arrays."""

import functools
import inspect
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lazyrich
from lazyrich import InputError, curves, kernels, models, tasks, theory, training

pytestmark = pytest.mark.usefixtures("unchecked")

# Numbers that every type holds exactly. The condition number is below the inverse of a half
# type's cutoff, so that no type takes a mode for a null one.
WHOLE = {
    "kernel": [[9, 1, 2, 0, 1], [1, 8, 0, 1, 2], [2, 0, 9, 1, 0], [0, 1, 1, 7, 0], [1, 2, 0, 0, 8]],
    "targets": [1, 0, 3, 2, 5],
    "query_kernel": [[1, 0, 2, 0, 1], [0, 3, 0, 1, 0]],
    "train": [16, 8, 1, 0, 0, 0],
    "test": [16, 20, 16, 8, 1, 0],
}
TRUE_OR_FALSE = {
    "kernel": [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]],
    "targets": [1, 1, 0, 1, 0],
    "query_kernel": [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]],
    "train": [1, 1, 0, 0, 0, 0],
    "test": [1, 1, 1, 1, 0, 0],
}
COMMITTEE = {
    "x": [[1, 0, 2], [0, 1, 1], [3, 1, 0], [2, 2, 1]],
    "labels": [1, 0, 2, 1],
    "weights": [[1, 0, 2], [0, 2, 0], [1, 1, 0], [3, 0, 1], [0, 0, 1]],
    "moved": [[0, 1, 0], [1, 0, 0], [0, 0, 2], [0, 0, 0], [1, 1, 1]],
    "readouts": [1, 2, 1, 0, 3],
    "direction": [1, 2, 0],
    "mean": [1, 0, 1],
    "moment": [[4, 1, 1], [1, 3, 0], [1, 0, 5]],
    "means": [[1, 0, 1], [0, 1, 2]],
    "moments": [[[4, 1, 1], [1, 3, 0], [1, 0, 5]], [[1, 0, 0], [0, 2, 0], [0, 0, 8]]],
    "squares": [9, 30],
    "eigenvalues": [8, 4, 2],
    "power": [1, 0, 3],
    "counts": [1, 3, 20],
}
STEPS = {"steps": [0, 1, 2, 4, 8, 16], "few": [0, 1, 3], "one": [5], "more": [7]}
SCORES = {
    "scores": [[4, 1, 0], [2, 3, 1], [0, 5, 4], [1, 0, 2]],
    "one_hot": [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "levels": [1, 4, 20],
}
SHARES = {"rising": [0, 0, 1, 1, 1, 1], "late": [0, 0, 0, 0, 1, 1]}

# One row for each function: the arrays that it is given, and how it is called with them.
ROWS = {
    "alignment": ("kernel targets", lambda f, k, y: f(k, y)),
    "centered_alignment": ("kernel targets", lambda f, k, y: f(k, y)),
    "column_centered_alignment": ("kernel targets", lambda f, k, y: f(k, y)),
    "debiased_alignment": ("kernel targets", lambda f, k, y: f(k, y)),
    "chance_alignment": ("kernel", lambda f, k: f(k)),
    "permutation_null": (
        "kernel targets",
        lambda f, k, y: f(k, y, jax.random.key(0), n_permutations=20),
    ),
    "kernel_regression": (
        "kernel targets query_kernel",
        lambda f, k, y, q: f(k, y, q, ridge=1),
    ),
    "lazy_dynamics": (
        "kernel targets few query_kernel",
        lambda f, k, y, t, q: [
            f(k, y, t, learning_rate=0.1, query_kernel=q, momentum=m) for m in (0, 0.5)
        ],
    ),
    # Eigenvectors have signs, and those of equal eigenvalues are arbitrary.
    "kernel_spectrum": (
        "kernel targets",
        lambda f, k, y: (f(k, y).eigenvalues, f(k, y).power.sum()),
    ),
    "condition_report": ("kernel", lambda f, k: f(k, ridge=1)._replace(cutoff=0)),
    "difficulty": ("kernel targets", lambda f, k, y: f(k, y)),
    "lazy_parameter_change": ("kernel targets", lambda f, k, y: f(k, y)),
    "kernel_distance": ("query_kernel query_kernel", lambda f, a, b: f(a, b)),
    "low_rank_measure": ("kernel targets", lambda f, k, y: f(k, y)),
    "flatten_kernel": ("blocks", lambda f, k: f(k)),
    "fall_step": ("steps train", lambda f, t, a: f(t, a, 0.5)),
    "rise_step": ("steps rising", lambda f, t, a: f(t, a, 0.9)),
    "grokking_delay": ("steps train test", lambda f, t, a, b: f(t, a, b)),
    "accuracy_delay": ("steps rising late", lambda f, t, a, b: f(t, a, b)),
    "phase": (
        "one more one one",
        lambda f, a, b, c, d: f(curves.GrokkingDelay(a, b, c, d, False), max_ratio=1.2),
    ),
    "value_at": ("steps test", lambda f, t, a: f(t, a, 3)),
    "peak_before": ("steps test", lambda f, t, a: f(t, a, 5)),
    "departure_step": ("steps train test", lambda f, t, a, b: f(t, a, b)),
    "count_peaks": ("test", lambda f, a: f(a, prominence=0.1)),
    "concordance": ("steps test", lambda f, t, a: f(t, a)),
    "rank_correlation": ("steps test", lambda f, t, a: f(t, a)),
    "ordered_share": ("kernel", lambda f, k: f(k, 1, trend="rising")),
    "relative_spread": ("more", lambda f, a: f(a)),
    "weight_moments": ("weights readouts", lambda f, w, v: (f(w), f(w, v))),
    "moment_change": ("weights moved", lambda f, w, d: f(w, d)),
    "displacement_moments": ("weights moved", lambda f, w, d: f(w, d)),
    "equivalent_weights": (
        "mean moment",
        lambda f, m, s: theory.weight_moments(f(theory.WeightMoments(m, s))),
    ),
    "committee_output": (
        "mean moment x",
        lambda f, m, s, x: f(theory.WeightMoments(m, s), x, alpha=2, epsilon=1),
    ),
    "polynomial_target": ("direction x", lambda f, b, x: f(b, x)),
    "target_matrix": ("direction", lambda f, b: f(b)),
    "target_components": ("direction x", lambda f, b, x: f(b, x)),
    "target_power": ("direction", lambda f, b: f(b)),
    "eigenfunctions": ("x", lambda f, x: f(x)),
    "sample_sizes": ("one more one", lambda f, *modes: f(theory.Modes(*modes))),
    "committee_kernel": (
        "mean moment x x",
        lambda f, m, s, x, x2: f(theory.WeightMoments(m, s), x, x2, alpha=2, epsilon=1, width=5),
    ),
    "readout_kernel": (
        "weights readouts x x",
        lambda f, w, v, x, x2: f(w, v, x, x2, alpha=2, epsilon=1),
    ),
    "initial_kernel": ("x x", lambda f, x, x2: f(x, x2, alpha=2, epsilon=1, width=5)),
    "initial_readout_kernel": ("x x", lambda f, x, x2: f(x, x2, alpha=2, epsilon=1, width=5)),
    **dict.fromkeys(
        (
            "population_alignment",
            "population_centered_alignment",
            "population_column_centered_alignment",
        ),
        (
            "means moments direction",
            lambda f, m, s, b: f(theory.WeightMoments(m, s), b, epsilon=1),
        ),
    ),
    "loss_terms": (
        "means moments direction",
        lambda f, m, s, b: f(theory.WeightMoments(m, s), b, alpha=2, epsilon=1),
    ),
    "tangent_split": (
        "means moments squares mean moment x",
        lambda f, d, c, q, m, s, x: f(
            theory.DisplacementMoments(d, c, q),
            theory.WeightMoments(m, s),
            x,
            alpha=2,
            epsilon=1,
            width=50,
        ),
    ),
    "learning_curve": (
        "eigenvalues power counts few",
        lambda f, e, v, c, n: f(e, v, multiplicities=c, n_train=n, ridge=1),
    ),
    "goldilocks_range": (
        "eigenvalues power counts",
        lambda f, e, v, c: f(e, v, multiplicities=c, dim=3, ridge=1),
    ),
    **dict.fromkeys(
        ("gradient_step", "gradient_velocity"),
        (
            "mean moment x labels",
            lambda f, m, s, x, y: f(
                theory.WeightMoments(m, s),
                theory.EmpiricalLoss(x, y),
                hyperparameters=theory.DynamicHyperparameters(2, 1),
            ),
        ),
    ),
    "gradient_descent": (
        "weights x labels moment",
        lambda f, w, x, y, b: f(
            w,
            theory.EmpiricalLoss(x, y),
            hyperparameters=theory.DynamicHyperparameters(2, 1, np.float32(2**-10)),
            eval_steps=[0, 1, 5],
            query=theory.PopulationLoss(b),
        )[:4],
    ),
}
ROWS |= {
    **dict.fromkeys(
        ("mean_squared_error", "cross_entropy", "stablemax_cross_entropy", "accuracy"),
        ("scores one_hot", lambda f, a, b: f(a, b)),
    ),
    "threshold_accuracy": ("scores one_hot levels", lambda f, a, b, k: f(a, b, k)),
    "hermite": ("scores", lambda f, h: f(h, 5)),
}
# These take a predictor with its parameters, or settings, and are tested with those; the flow
# stops where its solver's tolerance lets it, and takes its input as the descent does.
OTHERS = {
    "measure_rates",
    "ntk",
    "explain_ntk",
    "ntk_operator",
    "operator_regression",
    "linearize",
    "richness",
    "check_predictor",
    "scale_output",
    "preset",
    "starting_point",
    "train",
    "train_many",
    "initial_eigenvalues",
    "initial_readout_eigenvalues",
    "eigenspace_sizes",
    "infinite_width",
    "gradient_flow",
    "flow_interpolant",
    "diagnose",
    # Settings, updates of optimizers, and data and outputs that other functions made.
    "log_steps",
    "experiment_from_json",
    "require_memory",
    "train_committee",
    "data_folder",
    "download_mnist",
    "polynomial_regression",
    "scale_labels",
    "committee_machine",
    "init_committee_machine",
    "scaled_output",
    "centred",
    "scale_first_layer",
    "constrain_norm",
    "egalitarian_gradient",
    "grokfast_ema",
    "grokfast_ma",
    "jacobian_penalty",
    "late_l2",
    "normalize_columns",
    "orthogonal_gradient",
}


def public_functions():
    rooms = (kernels, curves, theory, tasks, models, training, lazyrich)
    names = {name: getattr(room, name) for room in rooms for name in dir(room) if name[0] != "_"}
    return {
        name: value
        for name, value in names.items()
        if callable(value)  # also what jit has made of a function
        and not inspect.isclass(value)
        and getattr(value, "__module__", "").startswith("lazyrich.")
    }


FUNCTIONS = public_functions()


def numbers(word, problem):
    values = problem | STEPS | SHARES | COMMITTEE | SCORES
    if word == "blocks":
        return np.asarray(values["kernel"], float)[:4, :4].reshape(2, 2, 2, 2)
    return np.asarray(values[word], float)


def strided(array):
    return np.repeat(array, 2, axis=0)[::2]


def read_only(array):
    array.flags.writeable = False
    return array


def framed(array):
    if array.ndim == 1:
        return pd.Series(array, index=[f"row {i}" for i in range(len(array))])
    return pd.DataFrame(array) if array.ndim == 2 else array.tolist()


def tensor(array, kind=None, **options):
    torch = pytest.importorskip("torch")
    return torch.tensor(array, dtype=getattr(torch, kind) if kind else None, **options)


def tuples(array):
    return tuple(map(tuples, array)) if array.ndim else float(array)


HALF = 1e-4  # computed in float32
FORMS = {
    "int64": (lambda a: a.astype(np.int64), 1e-12),
    "uint8": (lambda a: a.astype(np.uint8), 1e-12),
    "int32 of JAX": (lambda a: jnp.asarray(a, jnp.int32), 1e-12),
    "float32": (lambda a: a.astype(np.float32), HALF),
    "float16": (lambda a: a.astype(np.float16), HALF),
    "bfloat16": (lambda a: a.astype(jnp.bfloat16), HALF),
    "bfloat16 of JAX": (lambda a: jnp.asarray(a, jnp.bfloat16), HALF),
    "big-endian": (lambda a: a.astype(">f8"), 1e-12),
    "list": (lambda a: a.tolist(), 1e-12),
    "tuple": (tuples, 1e-12),
    "decimals": (lambda a: np.vectorize(Decimal, otypes=[object])(a), 1e-12),
    "pandas": (framed, 1e-12),
    "read-only": (read_only, 1e-12),
    "strided": (strided, 1e-12),
    "Fortran order": (np.asfortranarray, 1e-12),
    "torch": (tensor, 1e-12),
    "torch with gradient": (lambda a: tensor(a, requires_grad=True), 1e-12),
    "torch bfloat16": (lambda a: tensor(a, "bfloat16"), HALF),
}


def results(name, problem, convert=lambda array: array):
    words, call = ROWS[name]
    return jax.tree.leaves(
        call(FUNCTIONS[name], *(convert(numbers(word, problem)) for word in words.split()))
    )


@functools.cache
def as_they_are(name):
    return results(name, WHOLE)


def test_every_public_function_has_a_row():
    assert set(FUNCTIONS) == set(ROWS) | OTHERS


def pairs():
    """Every function with every form; the fast tests have a third of the pairs of each."""
    for i, name in enumerate(ROWS):
        for k, form in enumerate(FORMS):
            yield pytest.param(name, form, marks=pytest.mark.slow if (i + k) % 3 else ())


@pytest.mark.parametrize(("name", "form"), list(pairs()))
def test_the_form_of_the_numbers_changes_no_result(name, form):
    convert, tolerance = FORMS[form]
    for found, wanted in zip(results(name, WHOLE, convert), as_they_are(name), strict=True):
        np.testing.assert_allclose(
            np.asarray(found, float), np.asarray(wanted, float), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("name", ROWS)
def test_true_and_false_count_as_one_and_zero(name):
    def convert(array):
        return array.astype(bool) if set(np.ravel(array)) <= {0.0, 1.0} else array

    wanted = results(name, TRUE_OR_FALSE)
    for found, value in zip(results(name, TRUE_OR_FALSE, convert), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "junk",
    [
        lambda a: a + 1j,
        lambda a: a.astype(str),
        lambda a: a.astype(str).tolist(),
        lambda a: a.astype("datetime64[s]"),
        lambda a: pd.Series(pd.to_datetime(np.ravel(a))),
        lambda a: {"values": a},
        lambda a: [[1.0], [1.0, 2.0]],
        lambda a: "loss",
        lambda a: jax.random.split(jax.random.key(0), a.shape),
    ],
    ids=["complex", "text", "texts", "dates", "Series of dates", "dict", "ragged", "word", "keys"],
)
@pytest.mark.parametrize("name", ROWS)
def test_what_is_no_array_of_real_numbers_gets_one_sentence(name, junk):
    with pytest.raises(InputError, match=r"^[^\n]*\.$"):
        results(name, WHOLE, junk)


def misshapen(array):
    """The numbers in shapes that a caller may give by mistake, and no numbers at all."""
    for axis in range(array.ndim):
        yield np.concatenate([array, np.take(array, [0], axis)], axis)
        yield np.take(array, [], axis)
    yield array[..., None]
    yield np.float64(1)
    yield None


# What may be left out: None stands for the first inputs, for equal multiplicities, and so on.
MAY_BE_NONE = {
    *((name, "x") for name in ROWS),
    ("learning_curve", "counts"),
    ("goldilocks_range", "counts"),
    ("weight_moments", "readouts"),
    ("lazy_dynamics", "query_kernel"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_shape_gets_one_sentence_or_a_result_without_nan(name):
    words, call = ROWS[name]
    words = words.split()
    given = [numbers(word, WHOLE) for word in words]
    for place, word in enumerate(words):
        for odd in misshapen(given[place]):
            arrays = [*given[:place], odd, *given[place + 1 :]]
            try:
                found = jax.tree.leaves(call(FUNCTIONS[name], *arrays))
            except InputError:
                continue
            assert odd is not None or (name, word) in MAY_BE_NONE
            if name == "ordered_share":  # NaN where there is no pair to compare
                continue
            assert not any(np.isnan(np.asarray(array, float)).any() for array in found)
