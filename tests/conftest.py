"""Double precision for every test, and skips that become failures where extras are promised."""

import os

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_enable_x64", True)

# The first example of a test pays for compilation; the same examples run everywhere.
settings.register_profile("lazyrich", deadline=None, derandomize=True)
settings.load_profile("lazyrich")


@pytest.fixture(scope="session")
def require_extra():
    """Import an optional package: skip where it is missing, unless it was promised."""

    def load(name: str):
        if os.environ.get("LAZYRICH_REQUIRE_EXTRAS") == "1":
            return __import__(name)
        return pytest.importorskip(name)

    return load
