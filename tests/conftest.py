"""Double precision for every test, and skips that become failures where extras are promised."""

import functools
import gc
import itertools
import os
import pkgutil
import signal
import sys
import threading
from importlib.metadata import version

# Most of the tests' time is compilation of programs that run once: half of it without
# optimization and with the former code for fusions, a flag on which a newer XLA ends.
# `make test-slow`, and everything outside the tests, compiles as users do.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)
# Where Python is told to write no bytecode, each of the many processes compiles all it imports.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""
# PyTorch's threads wait for each other in a loop: slow where several tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Kernels are planned with the package's rates, whatever was measured on this machine.
os.environ["LAZYRICH_CACHE"] = os.path.join(os.devnull, "nothing")

import jax
import jaxtyping
import pytest
from hypothesis import settings

sys.dont_write_bytecode = False
jax.config.update("jax_enable_x64", True)

# JAX loads the dialects that it writes programs in anew for each: a third of the time of a small
# program. In the fast tier 256 of a thread share them; what they leave goes with the last of them.
if "optimization_level=0" in os.environ["XLA_FLAGS"] and version("jax").startswith("0.10."):
    place, counter = "jax._src.interpreters.mlir.make_ir_context", itertools.count()
    make = pkgutil.resolve_name(place)
    shared = functools.lru_cache(maxsize=8)(lambda thread, group: make())
    pytest.MonkeyPatch().setattr(place, lambda: shared(threading.get_ident(), next(counter) // 256))

# Traces and compiled programs are many small objects that stay. To look for garbage among them
# as often as Python does took a fifteenth of the time.
gc.set_threshold(20_000, 20, 20)

# A shell that starts the tests in the background has them ignore Ctrl-C, which some send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The first example of a test pays for compilation; the same examples run everywhere.
settings.register_profile("lazyrich", deadline=None, derandomize=True)
settings.load_profile("lazyrich")


def pytest_collection_finish():
    """What is loaded by now stays: it is not looked at again for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def require_extra():
    """Import an optional package: skip where it is missing, unless it was promised."""

    def load(name: str):
        if os.environ.get("LAZYRICH_REQUIRE_EXTRAS") == "1":
            return __import__(name)
        return pytest.importorskip(name)

    return load


@pytest.fixture
def unchecked():
    """Run without the shape annotations' own checks, as a user does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
