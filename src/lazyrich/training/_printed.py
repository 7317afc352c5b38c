"""The authors' own draws: data and weights of a printed figure, from their integer keys."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from pydantic import NonNegativeInt

from lazyrich._base import Config, InputError, Params
from lazyrich.models import MLP, CommitteeNet, CommitteeParams, MLPNet, Net
from lazyrich.tasks import EigenvectorTask, PolynomialTask, Task, TaskData, TeacherTask


class PrintedDraw(Config):
    """The keys ``PRNGKey(k)`` from which the arrays of a printed run are drawn.

    The authors draw in float32 with JAX's threefry generator as it was before JAX 0.5
    (not partitionable), inputs as a matrix (D, P), and give some arrays one key, so that
    these share their values. Such a run is one draw: its seed stays 0.

    Attributes:
        input_key: of the training inputs; for eigenvector labels, of all inputs.
        test_key: of the test inputs.
        target_keys: of each direction β, or of each layer of a teacher.
        weight_keys: of the committee's weights, or of each layer of an MLP.
        readout_key: of trained readouts.

    Example:
        >>> PrintedDraw(input_key=10).target_keys
        (2,)
    """

    input_key: NonNegativeInt = 0
    test_key: NonNegativeInt = 1
    target_keys: tuple[NonNegativeInt, ...] = (2,)
    weight_keys: tuple[NonNegativeInt, ...] = (0,)
    readout_key: NonNegativeInt = 0


MARKED_STEPS = (1, 2, 3, 100, 300, 1000, 3000, 10_000, 20_000)
"""Steps at which a printed run is recorded in any case, so that runs can be compared."""


def with_marks(steps: Int[np.ndarray, " s"]) -> Int[np.ndarray, " r"]:
    """Evaluation steps with the marked steps that lie before the last of them."""
    return np.union1d(steps, [mark for mark in MARKED_STEPS if mark <= steps[-1]])


def printed_normal(key: int, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """What ``jax.random.normal(PRNGKey(key), shape)`` gave the authors, in double precision."""
    # Both switches hold in this thread and this block alone.
    with jax.threefry_partitionable(False), jax.enable_x64(False):
        drawn = jax.random.normal(jax.random.key(key, impl="threefry2x32"), shape, jnp.float32)
    return np.asarray(drawn, np.float64)


def printed_polynomial(
    draw: PrintedDraw, *, dim: int, n_train: int, n_test: int, label_scale: float = 1.0
) -> TaskData:
    """Data of the polynomial task; ``target`` holds the β_k as rows, before any scale."""
    target = np.stack([printed_normal(key, (dim,)) for key in draw.target_keys])

    def labelled(key: int, n: int) -> tuple[Array, Array]:
        x = _inputs(key, dim, n)
        return jnp.asarray(x), jnp.asarray(label_scale / 2 * np.square(x @ target.T).sum(-1))

    pairs = (labelled(draw.input_key, n_train), labelled(draw.test_key, n_test))
    return TaskData(*pairs[0], *pairs[1], jnp.asarray(target))


def printed_weights(draw: PrintedDraw, *, width: int, dim: int) -> Float[Array, "N d"]:
    """Weights of a committee machine, N(0, 1)."""
    return jnp.asarray(printed_normal(draw.weight_keys[0], (width, dim)))


def require_no_seed(seed: int) -> None:
    """Refuse seeds of what is one draw.

    Raises:
        InputError: if the seed is not 0.
    """
    if seed:
        raise InputError(f"seed is {seed} and a printed draw is one draw; take the seed 0 alone")


def require_printable(draw: PrintedDraw, task: Task, net: Net) -> None:
    """Refuse what no printed figure has.

    Raises:
        InputError: if there is no such draw for this task and net.
    """
    if task.data_seed is not None or task.split_seed is not None:
        raise InputError("a printed draw has no seeds; leave out data_seed and split_seed")
    if isinstance(net, CommitteeNet) and isinstance(task, PolynomialTask | EigenvectorTask):
        is_known = net.readouts != "signs" and len(draw.weight_keys) == 1
        if isinstance(task, PolynomialTask):
            is_known &= len(draw.target_keys) == task.n_directions
    elif isinstance(net, MLPNet) and isinstance(task, TeacherTask):
        is_known = (
            (net.initial, net.use_bias) == (task.initial, task.use_bias) == ("unit_normal", False)
            and len(draw.weight_keys) == len(net.widths) + 1
            and len(draw.target_keys) == len(task.widths) + 1
            and not task.noise
        )
    else:
        is_known = False
    if not is_known:
        raise InputError(
            f"no printed figure has such a draw of {task.kind} and {net.kind}; take a committee "
            "machine on polynomial or eigenvector labels, or an MLP on a teacher, both "
            "unit_normal without biases, with a key for each array"
        )


def printed_start(
    draw: PrintedDraw,
    task: Task,
    net: Net,
    weight_scale: float,
    kernel: Callable[[Params, Array], Array],
) -> tuple[Params, TaskData]:
    """Initial parameters and data, in double precision.

    Args:
        draw: the keys.
        task: a task that ``require_printable`` lets pass, as the net.
        net: the net.
        weight_scale: σ, by which every parameter is multiplied.
        kernel: the net's tangent kernel, from parameters and inputs.
    """
    if isinstance(net, CommitteeNet):
        weights = printed_weights(draw, width=net.width, dim=task.n_inputs)
        readouts = None
        if net.readouts == "normal":
            readouts = jnp.asarray(printed_normal(draw.readout_key, (net.width,)))
        params: Params = CommitteeParams(weights, readouts)
    else:
        assert isinstance(net, MLPNet)
        sizes = (task.n_inputs, *net.widths, task.n_outputs or 1)
        params = MLP(
            _layers(draw.weight_keys, sizes),
            None,
            activation=net.activation,
            parameterisation=net.parameterisation,
            is_scalar=task.n_outputs is None,
        )
    params = jax.tree.map(lambda leaf: weight_scale * leaf, params)
    return params, _data(draw, task, lambda x: kernel(params, x))


def _data(draw: PrintedDraw, task: Task, kernel: Callable[[Array], Array]) -> TaskData:
    if isinstance(task, PolynomialTask):
        return printed_polynomial(draw, dim=task.dim, n_train=task.n_train, n_test=task.n_test)
    if isinstance(task, EigenvectorTask):
        x = jnp.asarray(_inputs(draw.input_key, task.dim, task.n_train + task.n_test))
        key = jax.random.key(draw.input_key)
        return task.labelled(x[: task.n_train], x[task.n_train :], kernel, key)
    assert isinstance(task, TeacherTask)
    sizes = (task.dim, *task.widths, task.target_dim)
    teacher = tuple((w, jnp.zeros(w.shape[1])) for w in _layers(draw.target_keys, sizes))
    x, x_test = (
        jnp.asarray(printed_normal(key, (task.dim, n)).T)
        for key, n in ((draw.input_key, task.n_train), (draw.test_key, task.n_test))
    )
    return TaskData(x, task.labels_of(teacher, x), x_test, task.labels_of(teacher, x_test), teacher)


def _inputs(key: int, dim: int, n: int) -> Float[np.ndarray, "n d"]:
    """Inputs x ~ N(0, I/D), drawn (D, n) and divided in single precision."""
    drawn = printed_normal(key, (dim, n)).astype(np.float32)
    return (drawn / np.sqrt(np.float32(dim))).astype(np.float64).T


def _layers(keys: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """Weights (inputs, outputs) of each layer, drawn (outputs, inputs)."""
    shapes = zip(keys, sizes[1:], sizes[:-1], strict=True)
    return tuple(jnp.asarray(printed_normal(key, (n_out, n_in)).T) for key, n_out, n_in in shapes)
