"""``lazyrich diagnose``: a network from two checkpoints and some rows, or the runs of a store."""

import io
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeGuard

from cyclopts import Parameter

from lazyrich._base import (
    InputError,
    Params,
    Predictor,
    kind_of,
    read_file,
    reason_of,
    require_writable,
)

from ._arguments import LocalPath
from ._diagnose_store import diagnose_store
from ._environment import loading
from ._output import say, say_json
from ._sweep import Where
from ._user_code import built, users_code

if TYPE_CHECKING:
    from torch import nn

    from lazyrich.diagnosis import Diagnosis

_MOST_BYTES = 2**32
"""Of a file of rows or of a JAX checkpoint."""

_ARRAYS = ("x", "y", "x_test", "y_test")


def diagnose(
    target: Annotated[
        str,
        Parameter(
            help="FILE.py:FUNCTION; the function returns a torch.nn.Module, an Equinox module, a "
            "pair (Flax module, params), or a pair (predict, params). Default function: build. "
            "Or the folder or URL of a sweep's store, whose runs are diagnosed from their records."
        ),
    ],
    /,
    *,
    data: Annotated[
        LocalPath | None,
        Parameter(help="An .npz file with x, y, x_test, y_test (x.NAME for named inputs)."),
    ] = None,
    before: Annotated[
        LocalPath | None,
        Parameter(help="The earlier checkpoint: of torch.save, or equinox's serialisation."),
    ] = None,
    after: Annotated[
        LocalPath | None,
        Parameter(help="The later checkpoint. Default: as the function returns it."),
    ] = None,
    loss: Annotated[
        Literal["mse", "cross_entropy"] | None,
        Parameter(help="Default: from the labels; whole numbers are classes."),
    ] = None,
    where: Where = None,
    every: Annotated[
        bool, Parameter("--all", negative=(), help="Of a store, diagnose more than 60 runs.")
    ] = False,
    html: Annotated[
        LocalPath | None, Parameter(("--html", "--to"), help="Write a page, one HTML file.")
    ] = None,
    as_json: Annotated[
        bool, Parameter("--json", negative=(), help="Print the diagnosis as JSON alone.")
    ] = False,
) -> None:
    """Diagnose whether a network is lazy or rich, whether it generalises late, and what to change.

    For a store, diagnose every run, as far as its records allow.
    """
    with loading():
        from lazyrich.diagnosis import PAGE
    if html is not None:
        require_writable(html, kind=PAGE, cure="choose another place with --html")
    if "://" in target or os.path.isdir(target):
        _refuse_with_store({"data": data, "before": before, "after": after, "loss": loss})
        diagnose_store(target, where or [], html=html, as_json=as_json, every=every)
        return
    if where or every:
        raise InputError(
            "--where and --all choose runs of a store, and this is not one; leave them out."
        )
    if target and ":" not in target and not os.path.isfile(target):
        raise InputError(
            f"{target} is neither the folder of a store nor a file; give one that is there, or "
            "FILE.py:FUNCTION for a network."
        )
    if data is None:
        raise InputError("--data is missing; give an .npz file with rows x and labels y.")
    arrays = _read_arrays(data)
    network = built(target)
    with users_code(f"The network of {target}", "it must return its outputs"):
        if _is_module(network):
            from lazyrich import torch as lzt

            found = lzt.diagnose(network, before=before, after=after, loss=loss, **arrays)
        else:
            found = _of_jax(network, before, after, {"loss": loss, **arrays})
    if html is not None:
        found.to_html(html)
    if as_json:
        say_json(found.to_dict())
        return
    for line in str(found).splitlines():
        say(line)
    if html is not None:
        say(f"page: {html} (open it in a browser)")


def _refuse_with_store(given: dict[str, object]) -> None:
    flags = [f"--{name}" for name, value in given.items() if value is not None]
    if flags:
        raise InputError(
            f"{' and '.join(flags)} cannot be used with a store, whose runs have their own data; "
            "give FILE.py:FUNCTION to diagnose a network, or leave it out."
        )


def _of_jax(
    built: object, before: Path | None, after: Path | None, given: dict[str, Params]
) -> "Diagnosis":
    with loading():
        import lazyrich as lz
    predict, params = _predictor(built)
    params0 = None if before is None else _read_params(before, params)
    params = params if after is None else _read_params(after, params)
    x, y = given.pop("x"), given.pop("y", None)
    return lz.diagnose(predict, params0, params, x, y, **given)


def _predictor(built: object) -> tuple[Predictor, Params]:
    """A predictor and its parameters from what the function returned."""
    import equinox as eqx
    import jax

    if isinstance(built, eqx.Module):
        params, static = eqx.partition(built, eqx.is_inexact_array)
        return lambda params, x: jax.vmap(eqx.combine(params, static))(x), params
    if isinstance(built, tuple) and len(built) == 2:
        first, params = built
        if hasattr(first, "apply") and callable(first.apply):
            is_whole = isinstance(params, Mapping) and "params" in params
            variables = params if is_whole else {"params": params}
            others = {k: v for k, v in variables.items() if k != "params"}
            apply = first.apply
            return (lambda p, x: apply({"params": p, **others}, x)), variables["params"]
        if callable(first):
            return first, params
    raise InputError(
        f"The function returned {kind_of(built)}; wanted a torch.nn.Module, an Equinox "
        "module, a pair (Flax module, params) or a pair (predict, params)."
    )


def _is_module(built: object) -> "TypeGuard[nn.Module]":
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(built, torch.nn.Module)


def _read_arrays(path: Path) -> dict[str, Params]:
    import numpy as np

    wanted = "give an .npz file that numpy.savez wrote with x, y, and x_test, y_test if there are"
    try:
        with np.load(io.BytesIO(read_file(path, _MOST_BYTES)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {wanted}.") from error
    except (ValueError, AttributeError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise InputError(f"{path} is not a file of arrays; {wanted}.") from error
    found: dict[str, Params] = {}
    for name, array in arrays.items():
        whole, dot, part = name.partition(".")
        if whole not in _ARRAYS or (dot and not part):
            raise InputError(f"{path} has an array {name!r}; {wanted}.")
        if dot:
            found.setdefault(whole, {})[part] = array
        else:
            found[whole] = array
    if "x" not in found:
        raise InputError(f"{path} has no array x; {wanted}.")
    return found


def _read_params(path: Path, like: Params) -> Params:
    import equinox as eqx

    try:
        content = io.BytesIO(read_file(path, _MOST_BYTES))
        params = eqx.tree_deserialise_leaves(content, like)
        is_whole = not content.read(1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); give a checkpoint.") from (
            error
        )
    except Exception as error:  # NumPy and Equinox meet what does not fit with any of a dozen
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path} does not fit the network ({said}); write it with "
            "equinox.tree_serialise_leaves(path, params)."
        ) from error
    if not is_whole:
        raise InputError(f"{path} holds more than the parameters of this network.")
    return params
