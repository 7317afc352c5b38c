"""The paper's errata, each with a measurement that decides between the two formulas."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from lazyrich.theory import initial_kernel, initial_readout_kernel

from . import _checks

_TOLERANCE = 1e-9  # rounding in float64 leaves less


class Erratum(NamedTuple):
    """A misprint of the paper: the printed formula, the correction, and the error of each.

    Attributes:
        where: equation or section of the paper.
        printed: the printed formula.
        holds: the correction.
        compared: what both are compared with.
        error_printed: relative error of the printed formula, dimensionless; NaN where there
            is nothing to measure.
        error_holds: relative error of the correction, dimensionless; NaN likewise.

    Example:
        >>> Erratum("Eq. 0", "x_i", "x_j", "exact sums", 0.5, 1e-16).is_confirmed
        True
    """

    where: str
    printed: str
    holds: str
    compared: str
    error_printed: float
    error_holds: float

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to measure."""
        return self.error_holds == self.error_holds

    @property
    def is_confirmed(self) -> bool:
        """Whether the correction holds to rounding and the printed formula is wrong by a tenth."""
        return self.error_holds < _TOLERANCE and self.error_printed > 0.1


def errata() -> tuple[Erratum, ...]:
    """Every erratum of the paper, measured now, in float64.

    The correction is computed by ``lazyrich.theory`` where that has the formula, and compared
    with quantities that do not use it: gradients of the network, averages as finite sums
    (Gauss–Hermite nodes, exact for polynomials), ranks, least-norm solutions.

    Returns:
        One entry for each erratum. Errors are relative to the largest entry of the
        reference, dimensionless; NaN for misprinted cross references, which one reads.

    Example:
        >>> entries = errata()
        >>> sum(one.is_confirmed for one in entries), len(entries)
        (17, 18)

    References:
        Kumar et al. (2024); the table in ``docs/theory.md`` cites the tests.
    """
    with jax.enable_x64(True):
        entries = [
            Erratum(where, printed, holds, compared, *check())
            for where, printed, holds, compared, check in _CHECKS
        ]
    reading = Erratum(
        "cross references",
        "“Section 19”; “Figure 6 where we changed the labels”; “task in Section 2”",
        "§16.2; Figure 5; §3",
        "reading",
        float("nan"),
        float("nan"),
    )
    return (*entries, reading)


_CHECKS: tuple[tuple[str, str, str, str, Callable[[], _checks.Errors]], ...] = (
    (
        "Eqs. 5, 18",
        "K = x·x′ [1 + …]",
        "times α²/N",
        "products of the network's gradients",
        _checks.kernel,
    ),
    (
        "Eq. 10",
        "K₀ = x·x′ + ε²(x·x′)²",
        "times α²/N",
        "exact average over weights",
        lambda: _checks.kernel_at_start(initial_kernel, readouts=False),
    ),
    (
        "Eq. 23",
        "K₀ = 2 x·x′ + …",
        "times α²/N",
        "exact average over weights and readouts",
        lambda: _checks.kernel_at_start(initial_readout_kernel, readouts=True),
    ),
    (
        "Eq. 6",
        "used for centred runs as it stands",
        "w̄ − w̄₀ and M − M₀ there",
        "exact average of the centred network's squared error",
        _checks.centred_loss,
    ),
    (
        "§5, after Eq. 17",
        "λ_quadr = 2ε/D², P ~ D²/(2ε)",
        "2ε²/D², P ~ D²/(2ε²)",
        "exact average ⟨ψ K ψ′⟩ for ψ ∝ x₁x₂",
        _checks.quadratic_eigenvalue,
    ),
    (
        "Eq. 13, first",
        "(2ε²/D²) x_i²",
        "(2ε²/D²) x_i′²",
        "⟨K(x, x′) x₁²⟩ at x′ = e₁ less that at x′ = e₂",
        _checks.lost_prime,
    ),
    (
        "after Eq. 14",
        "D functions x_i² − ‖x‖²/D",
        "D − 1: they sum to zero",
        "rank of the functions' values",
        _checks.independent_functions,
    ),
    (
        "before Eq. 15",
        "x_i x_j − c‖x‖²",
        "x_i x_j alone",
        "eigenfunction of K₀: distance of Kψ from λψ (c = 1/D)",
        _checks.cross_terms,
    ),
    (
        "Eq. 16, after Eqs. 16 and 17",
        "(1/D)(1 + 2/D)",
        "(ε²/D)(1 + 2/D)",
        "exact average ⟨ψ K ψ′⟩ for ψ ∝ ‖x‖²",
        _checks.norm_eigenvalue,
    ),
    (
        "Eq. 17",
        "‖x‖²/D",
        "‖β‖²‖x‖²/D",
        "eigenfunction of K₀: distance of Kψ from λψ for ψ the bracket",
        _checks.target_parts,
    ),
    (
        "Eq. 20, both lines",
        "no factor",
        "times ¼: each label carries a ½",
        "exact average ⟨y K y′⟩",
        _checks.overlap,
    ),
    (
        "CKA, §§5, 6",
        "‖y‖ and ‖y‖², K₀ and K",
        "‖y‖², one kernel throughout",
        "change of the alignment when labels are given in another unit (×10)",
        _checks.unit_of_labels,
    ),
    (
        "after Eq. 23",
        "quadratic eigenvalues O(ε/D²)",
        "traceless 3ε²/D²; ‖x‖² has about ε²/4",
        "eigenvalue of ‖x‖² at D = 5 over that at D = 2, exact averages",
        _checks.readout_eigenvalue,
    ),
    (
        "Eq. 9",
        "‖Δw‖² ~ yᵀK⁻¹y with the K of Eq. 5",
        "equality for the linearised, centred network, K with α²/N",
        "least-norm solution, where gradient descent ends",
        _checks.distance,
    ),
    (
        "§8.1, after Eq. 7",
        "η = η₀/α² keeps df/dt",
        "for gradient descent and momentum; sign-like steps (Adam) need η₀/α",
        "df of a first sign step at α = 5 against that at α = 1",
        _checks.sign_steps,
    ),
    (
        "§15.1",
        "β₁·x + β₂·x",
        "½ Σ (β_k·x)²",
        "share of the target that is odd in x, which an even task has none of",
        _checks.several_directions,
    ),
    (
        "§13",
        "time to generalise linear in weight decay",
        "inverse: the rate is linear",
        "time for decaying weights to fall to a tenth, decay doubled",
        _checks.decay,
    ),
)
