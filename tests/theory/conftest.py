"""What the tests of the closed forms share."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Run without the shape annotations' own checks, as a user does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
