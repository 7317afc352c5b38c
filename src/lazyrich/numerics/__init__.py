"""Numerical methods that several subpackages share, independent of networks.

Vocabulary: the *cutoff* is the eigenvalue, relative to the largest, at or below which a mode
belongs to the *null space* of a kernel, where its *pseudo-inverse* is zero; a *ridge* is added
to the kernel's diagonal before it is inverted.
"""

from ._pseudo_inverse import NEGATIVE as NEGATIVE
from ._pseudo_inverse import decompose as decompose
from ._pseudo_inverse import eigenmodes as eigenmodes
from ._pseudo_inverse import inverse_eigenvalues as inverse_eigenvalues
from ._pseudo_inverse import null_space as null_space
from ._pseudo_inverse import pseudo_inverse as pseudo_inverse
from ._pseudo_inverse import rounding_cutoff as rounding_cutoff
from ._runge_kutta_chebyshev import RungeKuttaChebyshev as RungeKuttaChebyshev
