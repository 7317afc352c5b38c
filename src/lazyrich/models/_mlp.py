"""Fully connected networks, in the parameterisations that set how lazy they are."""

import math
from functools import partial
from itertools import pairwise
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike
from pydantic import PositiveInt

from lazyrich._base import Predictor, draw, require_key, require_positive

from ._net import Net, require_hyperparameters, require_vectors, scale_params

Activation = Literal["relu", "tanh", "gelu", "erf", "softplus", "square", "linear"]
Parameterisation = Literal["standard", "ntk", "mean_field"]

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda h: jax.nn.gelu(h, approximate=False),
    "erf": jax.scipy.special.erf,
    "softplus": jax.nn.softplus,
    "square": jnp.square,
    "linear": lambda h: h,
}


class MLP(eqx.Module):
    """A fully connected network, as its parameters: h ← φ(m·(hW + b)), the last layer linear.

    The multiplier m of a layer of n inputs is 1 in the standard parameterisation and
    1/√n in the ntk one; mean_field is ntk with 1/n in the last layer. Weights are
    stored (inputs, outputs). A bias is a weight from an input that is always one: m
    multiplies it too, so the standard and the ntk form differ only in the scale
    of their parameters.

    Attributes:
        weights: one matrix a layer, first layer first.
        biases: one vector a layer, or None without biases.
        activation: name of φ.
        parameterisation: "standard", "ntk" or "mean_field".
        is_scalar: give one number for each row, (n,) instead of (n, 1).

    Example:
        >>> mlp = MLPNet(widths=()).init(jax.random.key(0), n_inputs=2, n_outputs=None)
        >>> [weight.shape for weight in mlp.weights], mlp(jnp.ones((3, 2))).shape
        ([(2, 1)], (3,))
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...] | None
    activation: Activation = eqx.field(static=True)
    parameterisation: Parameterisation = eqx.field(static=True)
    is_scalar: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n ..."]:
        """Outputs of one batch, (n, c), or (n,) for a net of one number."""
        last = len(self.weights) - 1
        for k, weight in enumerate(self.weights):
            x = x @ weight
            if self.biases is not None:
                x = x + self.biases[k]
            if self.parameterisation != "standard":
                is_mean = self.parameterisation == "mean_field" and k == last
                x = x / (len(weight) if is_mean else math.sqrt(len(weight)))
            if k < last:
                x = ACTIVATIONS[self.activation](x)
        return x[:, 0] if self.is_scalar else x


class MLPNet(Net):
    """Settings of a fully connected network.

    Attributes:
        widths: number of units of each hidden layer; empty for a linear map.
        activation: φ of the hidden layers; "square" is h², "gelu" the exact form.
        parameterisation: "standard"; "ntk", each layer over √(its inputs); "mean_field",
            ntk with the last layer over its inputs: the smaller output needs larger
            weights, so the net is richer. Figure 2 is mean_field with "square" and no
            biases.
        initial: law of the weights and biases: "uniform", U(±1/√n) for n inputs, as the
            usual frameworks begin, or "normal" of standard deviation 1/√n; in ntk and
            mean_field form both are √n times larger. "kaiming" is normal of standard
            deviation √(2/n) in every form, as in the authors' Figure 6(a), which has
            it in mean_field form. "unit_normal" is N(0, 1) in every form, as in the
            authors' Figure 13(b), which has it in standard form.
        use_bias: have biases.

    Example:
        >>> net = MLPNet(widths=(100, 100), activation="tanh")
        >>> params = net.init(jax.random.key(0), n_inputs=5, n_outputs=2)
        >>> net.predictor()(params, jnp.ones((3, 5))).shape
        (3, 2)
    """

    kind: Literal["mlp"] = "mlp"
    widths: tuple[PositiveInt, ...] = (100, 100)
    activation: Activation = "relu"
    parameterisation: Parameterisation = "standard"
    initial: Literal["uniform", "normal", "kaiming", "unit_normal"] = "uniform"
    use_bias: bool = True

    def init(
        self,
        key: PRNGKeyArray,
        *,
        n_inputs: int,
        n_outputs: int | None,
        vocabulary: int | None = None,
        weight_scale: ScalarLike = 1.0,
    ) -> MLP:
        """Parameters at initialisation, as described in ``Net``.

        Raises:
            InputError: if tokens go in.
        """
        require_vectors("An MLP", vocabulary)
        n_last = 1 if n_outputs is None else n_outputs
        require_positive(n_inputs=n_inputs, n_outputs=n_last)
        sizes = list(pairwise((n_inputs, *self.widths, n_last)))
        require_key(key)
        keys = jax.random.split(key, (len(sizes), 2))
        weights, biases = [], []
        for (n_in, n_out), (weight_key, bias_key) in zip(sizes, keys, strict=True):
            weights.append(self._sample(weight_key, (n_in, n_out), n_in))
            biases.append(self._sample(bias_key, (n_out,), n_in))
        model = MLP(
            tuple(weights),
            tuple(biases) if self.use_bias else None,
            activation=self.activation,
            parameterisation=self.parameterisation,
            is_scalar=n_outputs is None,
        )
        return scale_params(model, weight_scale)

    def predictor(self, **hyperparameters: ScalarLike) -> Predictor:
        """The net as a function: the same one each time, so that compilations are shared."""
        require_hyperparameters(self, hyperparameters)
        return _apply

    def _sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n_in: int) -> Array:
        if self.initial == "kaiming":
            return math.sqrt(2 / n_in) * draw(jax.random.normal, key, shape)
        if self.initial == "unit_normal":
            return draw(jax.random.normal, key, shape)
        spread = 1 / math.sqrt(n_in) if self.parameterisation == "standard" else 1.0
        if self.initial == "normal":
            return spread * draw(jax.random.normal, key, shape)
        return draw(partial(jax.random.uniform, minval=-spread, maxval=spread), key, shape)


def _apply(params: MLP, x: Float[Array, "n d"]) -> Float[Array, "n ..."]:
    return params(x)
