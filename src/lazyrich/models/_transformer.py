"""The one-layer transformer that learns modular arithmetic, computed at its last position."""

import math
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, ScalarLike
from pydantic import PositiveInt, model_validator

from lazyrich._base import InputError, Predictor, draw, require_key, require_positive

from ._net import Net, require_hyperparameters, scale_params


class Transformer(eqx.Module):
    """One block of causal attention and a ReLU MLP, without normalisation, as its parameters.

    The usual module computes every position and reads the logits at the last. Here only
    the last position asks, attends and passes the MLP: the same numbers, a third of the
    work for three tokens. In a batch that is large against the vocabulary, keys, values
    and scores are formed once for each token at each position and looked up for each
    row; in a small one they are formed for the rows themselves.

    Matrices are stored (inputs, outputs); the h-th head has the h-th block of columns of
    ``query``, ``key`` and ``value``, and of rows of ``output``.

    Attributes:
        embedding: a row for each token.
        positions: a row for each place in the sequence.
        query: from the residual stream to all heads' queries.
        key: the same to keys.
        value: the same to values.
        output: from all heads back to the residual stream.
        mlp_in: into the hidden layer.
        mlp_in_bias: its biases.
        mlp_out: back to the residual stream.
        mlp_out_bias: its biases.
        unembedding: from the residual stream to the logits.
        n_heads: number of heads; divides the width of the residual stream.

    Example:
        >>> net = TransformerNet(d_model=8, n_heads=2, d_mlp=16)
        >>> params = net.init(jax.random.key(0), n_inputs=3, n_outputs=5, vocabulary=6)
        >>> params(jnp.array([[0, 4, 5]])).shape
        (1, 5)
    """

    embedding: Float[Array, "v d"]
    positions: Float[Array, "t d"]
    query: Float[Array, "d d"]
    key: Float[Array, "d d"]
    value: Float[Array, "d d"]
    output: Float[Array, "d d"]
    mlp_in: Float[Array, "d h"]
    mlp_in_bias: Float[Array, " h"]
    mlp_out: Float[Array, "h d"]
    mlp_out_bias: Float[Array, " d"]
    unembedding: Float[Array, "d c"]
    n_heads: int = eqx.field(static=True)

    def __call__(self, tokens: Int[Array, "n t"]) -> Float[Array, "n c"]:
        """Logits at the last position of each row of tokens."""
        if tokens.shape[1] != len(self.positions):
            raise InputError(
                f"The rows have {tokens.shape[1]} tokens and the transformer was made for "
                f"{len(self.positions)}; make it with n_inputs={tokens.shape[1]}."
            )
        # Scores of all pairs of tokens cost little against the MLP until here (measured).
        if len(self.embedding) ** 2 <= 16 * len(tokens):
            residual = self._attend_by_tables(tokens)
        else:
            residual = self._attend_by_rows(tokens)
        hidden = jax.nn.relu(residual @ self.mlp_in + self.mlp_in_bias)
        return (residual + hidden @ self.mlp_out + self.mlp_out_bias) @ self.unembedding

    def _attend_by_rows(self, tokens: Int[Array, "n t"]) -> Float[Array, "n d"]:
        streams = self.embedding[tokens] + self.positions
        last = streams[:, -1]
        keys, values = (self._by_head(streams @ matrix) for matrix in (self.key, self.value))
        scores = jnp.einsum("nhe,nthe->nht", self._by_head(last @ self.query), keys)
        mixed = jnp.einsum("nht,nthe->nhe", self._weights(scores), values)
        return last + mixed.reshape(last.shape) @ self.output

    def _attend_by_tables(self, tokens: Int[Array, "n t"]) -> Float[Array, "n d"]:
        streams = self.embedding + self.positions[:, None]  # position, token, residual
        last = tokens[:, -1]
        keys, values = (self._by_head(streams @ matrix) for matrix in (self.key, self.value))
        queries = self._by_head(streams[-1] @ self.query)
        tables = jnp.einsum("whe,tvhe->twvh", queries, keys)
        scores = [table[last, token] for table, token in zip(tables, tokens.T, strict=True)]
        weights = self._weights(jnp.stack(scores, -1))
        mixed = sum(weights[:, :, k, None] * table[tokens[:, k]] for k, table in enumerate(values))
        return streams[-1][last] + mixed.reshape(len(tokens), -1) @ self.output

    def _by_head(self, stream: Float[Array, "*n d"]) -> Float[Array, "*n h e"]:
        return stream.reshape(*stream.shape[:-1], self.n_heads, -1)

    def _weights(self, scores: Float[Array, "n h t"]) -> Float[Array, "n h t"]:
        # The last position may look at all of them: causality masks nothing there.
        head_width = self.query.shape[1] // self.n_heads
        return jax.nn.softmax(scores / math.sqrt(head_width), axis=-1)


class TransformerNet(Net):
    """Settings of the one-layer transformer of Nanda et al., which groks modular addition.

    Learned positions, causal attention without biases, no layer norm, a ReLU MLP with
    biases, logits at the last position. Every weight begins as N(0, 1)/√d_model, the
    unembedding as N(0, 1)/√vocabulary, biases at zero. The original has logits for all
    tokens and cuts off those that are no class; here they are not there.

    Attributes:
        d_model: width of the residual stream.
        n_heads: number of heads, each of width d_model/n_heads.
        d_mlp: number of hidden units of the MLP.

    Raises:
        InputError: if n_heads does not divide d_model.

    Example:
        >>> net = TransformerNet(d_model=8, n_heads=2, d_mlp=16)
        >>> params = net.init(jax.random.key(0), n_inputs=3, n_outputs=5, vocabulary=6)
        >>> net.predictor()(params, jnp.array([[0, 4, 5], [2, 2, 5]])).shape
        (2, 5)

    References:
        Nanda et al. (2023), Progress measures for grokking via mechanistic
        interpretability; Kumar et al. (2024), Figures 6b and 12.
    """

    takes: ClassVar[str] = "tokens"

    kind: Literal["transformer"] = "transformer"
    d_model: PositiveInt = 128
    n_heads: PositiveInt = 4
    d_mlp: PositiveInt = 512

    @model_validator(mode="after")
    def _heads_divide_the_model(self) -> "TransformerNet":
        if self.d_model % self.n_heads:
            raise InputError(
                f"n_heads {self.n_heads} does not divide d_model {self.d_model}; choose a "
                "divisor of d_model"
            )
        return self

    def init(
        self,
        key: PRNGKeyArray,
        *,
        n_inputs: int,
        n_outputs: int | None,
        vocabulary: int | None = None,
        weight_scale: ScalarLike = 1.0,
    ) -> Transformer:
        """Parameters at initialisation, as described in ``Net``.

        Raises:
            InputError: if vectors go in, or one number is to come out.
        """
        if vocabulary is None:
            raise InputError(
                "A transformer takes tokens and the task gives vectors; ask the task for tokens, "
                "or take an MLP."
            )
        if n_outputs is None:
            raise InputError(
                "A transformer gives a logit for each class and the task needs one number; take "
                "a task of classes, or an MLP."
            )
        require_positive(n_inputs=n_inputs, n_outputs=n_outputs, vocabulary=vocabulary)
        d = self.d_model
        require_key(key)
        keys = iter(jax.random.split(key, 9))

        def sample(*shape: int, over: int = d) -> Array:
            def entries(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
                return jax.random.normal(key, shape) / math.sqrt(over)

            return draw(entries, next(keys), shape)

        model = Transformer(
            embedding=sample(vocabulary, d),
            positions=sample(n_inputs, d),
            query=sample(d, d),
            key=sample(d, d),
            value=sample(d, d),
            output=sample(d, d),
            mlp_in=sample(d, self.d_mlp),
            mlp_in_bias=jnp.zeros(self.d_mlp),
            mlp_out=sample(self.d_mlp, d),
            mlp_out_bias=jnp.zeros(d),
            unembedding=sample(d, n_outputs, over=vocabulary),
            n_heads=self.n_heads,
        )
        return scale_params(model, weight_scale)

    def predictor(self, **hyperparameters: ScalarLike) -> Predictor:
        """The net as a function: the same one each time, so that compilations are shared."""
        require_hyperparameters(self, hyperparameters)
        return _apply


def _apply(params: Transformer, x: Int[Array, "n t"]) -> Float[Array, "n c"]:
    return params(x)
