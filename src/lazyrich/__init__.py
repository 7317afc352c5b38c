"""Is this network lazy or rich, will it generalise late, and what makes it sooner?

A short list of names from the lower floors. Importing it loads no xarray,
matplotlib, torch or dask.
"""

from importlib.metadata import version as _version

__version__ = _version("lazyrich")
