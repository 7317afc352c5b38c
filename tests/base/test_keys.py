"""Oracle: what JAX itself takes for one random key, and one sentence for everything else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError, permutation_null
from lazyrich._base import require_key
from lazyrich.models import CommitteeNet, MLPNet, TransformerNet, init_committee_machine
from lazyrich.tasks import polynomial_regression

pytestmark = pytest.mark.usefixtures("unchecked")
WRONG = [
    3,
    None,
    True,
    10**50,
    "0",
    jnp.zeros(2),
    np.uint32([0, 0, 0]),
    jax.random.split(jax.random.key(0)),
]
USERS = [
    lambda key: permutation_null(jnp.eye(3), jnp.arange(3.0), key, n_permutations=3),
    lambda key: init_committee_machine(key, 3, dim=2),
    lambda key: polynomial_regression(key, dim=2, n_train=3, n_test=3),
    lambda key: CommitteeNet(width=3).init(key, n_inputs=2, n_outputs=None),
    lambda key: MLPNet(widths=(3,)).init(key, n_inputs=2, n_outputs=1),
    lambda key: TransformerNet(d_model=4, n_heads=2, d_mlp=4).init(
        key, n_inputs=2, n_outputs=2, vocabulary=3
    ),
]


@pytest.mark.parametrize("use", [require_key, *USERS])
@pytest.mark.parametrize("key", WRONG, ids=lambda key: str(key)[:9])
def test_what_is_no_key_gets_one_sentence(use, key):
    with pytest.raises(InputError, match=r"key is (?s:.*); give a JAX random key"):
        use(key)


def test_keys_of_both_kinds_pass_and_traced_ones_too():
    for key in (jax.random.key(0), jax.random.PRNGKey(0), np.uint32([0, 1])):
        require_key(key)

    def count(key):
        require_key(key)
        return 1

    assert jax.vmap(count)(jax.random.split(jax.random.key(0))).shape == (2,)


@pytest.mark.parametrize("count", [0, -1, 2.0, 10**30, "3"])
def test_a_number_of_permutations_that_is_none_gets_one_sentence(count):
    with pytest.raises(InputError, match=r"n_permutations is .* from 1 to 1000000"):
        permutation_null(jnp.eye(3), jnp.arange(3.0), jax.random.key(0), n_permutations=count)
