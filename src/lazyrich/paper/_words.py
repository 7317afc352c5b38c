"""Verdicts in words: the same on the command line, on the page and in the documents."""

import math
from collections import Counter
from collections.abc import Mapping

from ._results import PRESETS, Result
from ._value import NO_PRINTED_RUN, tally
from ._verdict import LEFT_OUT, Claim, Verdict
from .figures import FIGURES

NOT_COMPUTED = "not computed"
"""Of a claim on which there is no verdict yet."""

SIGNS = {
    "holds": "✓",
    "met": "✓",
    "does not hold": "✗",
    "not met": "✗",
    "undecided": "?",
    NOT_COMPUTED: "–",
    NO_PRINTED_RUN: "–",
}
"""Every outcome, and its sign."""

LEGEND = (
    "Measured: the median over seeds, and in brackets its interval. Of up to five seeds that is "
    "the range, which covers the median with a probability of 75 % at three and 93.75 % at five; "
    "from six on it is the pair of order statistics that covers it with at least 95 %. Met: in how "
    "many seeds, with the 95 % interval of Clopper and Pearson for the share. A claim holds if the "
    "whole interval is on the right side of the threshold (where a share of seeds is given, the "
    "interval of the share), does not hold if all of it is on the wrong side, and is undecided "
    "otherwise, with fewer than three seeds, or if it depends on seeds that could not be measured. "
    "Never: not reached within the run, which does not meet a claim. Not converged: still moving "
    "at the end towards where the claim would be decided otherwise. The authors' own draw is one "
    "run, which meets a claim or does not, where the paper ends; no printed run: the paper shows "
    "none for the claim, or its draw is not known. Not computed: nothing was run or recorded."
)
"""How to read a verdict."""

SYMBOLS = (
    "L_tr, L_te: train and test loss. t_tr, t_te: the first steps at which they have fallen to a "
    "tenth of the initial train loss, unless another level is given; a run is late if t_te/t_tr is "
    "large. t_leave: the first step at which the test loss differs from that of the linearized "
    "network by more than 5 % of the initial test loss. K₀: the initial tangent kernel; K₀ line: "
    "the test loss of regression with it. Concordance: of the pairs of runs whose order is known, "
    "the share in the stated order minus the share in the reverse order."
)
"""What the statistics of the claims are made of."""


def in_short(preset: str, result: Result) -> str:
    """What became of a figure's claims, in a line.

    Args:
        preset: the name of the settings.
        result: of the figure at these settings.

    Returns:
        How many claims hold, and the names of the others.

    Example:
        >>> from lazyrich.paper import Claim, judge
        >>> late, low = (Claim("fig4", name, "", "", "", low=1.5) for name in ("late", "low"))
        >>> verdicts = judge(late, [2.0] * 3), judge(low, [1.0] * 3)
        >>> in_short("quick", Result((0, 1, 2), "", {}, (), verdicts))
        'wide settings, 3 seeds: 1 of 2 claims holds; does not hold: "low"'
    """
    names: dict[str, list[str]] = {}
    for verdict in result.verdicts:
        names.setdefault(verdict.outcome, []).append(f'"{verdict.claim.name}"')
    of_draw = ("met", "is met", "are met")
    good, one, more = of_draw if preset == "authors" else ("holds", "holds", "hold")
    n, of = len(names.pop(good, [])), len(result.verdicts)
    n_seeds = len(result.seeds)
    return "; ".join(
        [
            f"{PRESETS[preset]}, {n_seeds} seed{'s' if n_seeds > 1 else ''}: {n} of {of} "
            f"claim{'s' if of > 1 else ''} {one if n == 1 else more}",
            *(f"{outcome}: {', '.join(those)}" for outcome, those in names.items()),
        ]
    )


def describe(verdict: Verdict) -> tuple[str, ...]:
    """A verdict in a few lines, the outcome first.

    Args:
        verdict: on one claim.

    Returns:
        The outcome; the median and its interval; in how many seeds the claim is met; and
        how many seeds never got there, or could not be measured and why.

    Example:
        >>> from lazyrich.paper import Claim, judge
        >>> claim = Claim("fig1", "ratio", "late", "abstract", "t_te/t_tr", low=1.5)
        >>> describe(judge(claim, [2.0, 1.9, float("inf")]))
        ('undecided', '1.9 (never to 2)', 'met in 2 of 3 (9 to 99 %)', '1 of 3 seeds never')
    """
    if verdict.outcome in LEFT_OUT:
        said = ", ".join(dict.fromkeys(verdict.reasons))
        return (verdict.outcome, "–", *([] if said == verdict.outcome else [said]))
    seeds = (f"met in {met(verdict)}",) if met(verdict) else ()
    return (verdict.outcome, measured(verdict), *seeds, *remarks(verdict))


def absent(figure: str, preset: str) -> str:
    """What stands in the place of a verdict that there is none of."""
    has = FIGURES[figure].n_seeds if figure in FIGURES else ()
    return NO_PRINTED_RUN if preset == "authors" and preset not in has else NOT_COMPUTED


def in_a_line(verdict: Verdict) -> str:
    """A verdict with its sign: "✓ holds: 8 (4 to 9); met in 3 of 3 (29 to 100 %)"."""
    outcome, number, *more = describe(verdict)
    said = more if outcome in LEFT_OUT else [number, *more]
    return f"{SIGNS[outcome]} {outcome}" + (f": {'; '.join(said)}" if said else "")


def by_claim(results: Mapping[str, Result]) -> dict[Claim, dict[str, Verdict]]:
    """The verdicts on a figure's claims under every preset, in the order of the claims.

    A claim whose threshold or definition differs between presets stands twice.

    Args:
        results: by preset.

    Returns:
        For each claim its verdict under each preset that was computed.

    Example:
        >>> by_claim({})
        {}
    """
    found: dict[Claim, dict[str, Verdict]] = {}
    for preset in PRESETS:
        for verdict in results[preset].verdicts if preset in results else ():
            found.setdefault(verdict.claim, {})[preset] = verdict
    return found


def readable(value: float) -> str:
    """Three digits; "never" where something was not reached, – where it was not measured."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "never"
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e6 else f"{rounded:g}"
    return text.replace("-", "−")


def measured(verdict: Verdict) -> str:
    """Median and interval, "8 (4 to never)"; of a single draw its value."""
    if len(verdict.values) < 2 or math.isnan(verdict.median):
        return readable(verdict.median)
    low, high = map(readable, verdict.interval)
    return f"{readable(verdict.median)} ({low} to {high})"


def met(verdict: Verdict) -> str:
    """In how many seeds the claim is met, "3 of 5 (15 to 95 %)"; "" of a single draw."""
    if len(verdict.values) < 2 or not verdict.n_measured:
        return ""
    low, high = (round(100 * end) for end in verdict.share_interval)
    return f"{verdict.n_met} of {verdict.n_measured} ({low} to {high} %)"


def remarks(verdict: Verdict) -> list[str]:
    """What else is to be said: seeds that never got there, were not measured, or in part."""
    n = len(verdict.values)
    seeds = f"of {n} seeds" if n > 1 else "of 1 seed"
    said = [f"{verdict.n_never} {seeds} never"] if verdict.n_never else []
    if verdict.faults:
        faults = set(verdict.faults)
        why = faults.pop() if len(faults) == 1 else tally(verdict.faults)
        said.append(f"{len(verdict.faults)} {seeds} not measured: {why}")
    partly = [
        reason
        for value, reason in zip(verdict.values, verdict.reasons, strict=True)
        if reason and not math.isnan(value)
    ]
    return said + [f"{k} {seeds} {reason}" for reason, k in Counter(partly).most_common()]


def reading(verdicts: Mapping[str, Verdict]) -> str:
    """What the verdicts under all presets come to together, in a sentence.

    Args:
        verdicts: by preset, those that were computed.
    """
    outcomes = {
        preset: verdicts[preset].outcome
        for preset in PRESETS
        if preset in verdicts and verdicts[preset].outcome not in LEFT_OUT
    }
    if not outcomes:
        return "Not computed yet."
    said = "; ".join(_CLAUSES[preset][outcome] for preset, outcome in outcomes.items())
    lead = _lead(outcomes)
    return f"{lead}{said[0].lower() if lead else said[0].upper()}{said[1:]}."


_CLAUSES = {
    "authors": {
        "met": "the authors' own draw shows it",
        "not met": "the authors' own draw does not show it",
        "undecided": "the authors' own draw cannot be judged",
    },
    "paper": {
        "holds": "at the authors' settings, as far as they are known, it holds over seeds",
        "does not hold": "at the authors' settings, as far as they are known, it does not hold "
        "over seeds",
        "undecided": "at the authors' settings, as far as they are known, the seeds do not "
        "decide it",
    },
    "quick": {
        "holds": "at wide settings it holds",
        "does not hold": "at wide settings it does not hold",
        "undecided": "at wide settings the seeds do not decide it",
    },
}


def _lead(outcomes: Mapping[str, str]) -> str:
    """Where the sentence fails, if it fails somewhere."""
    fails = {
        preset for preset, outcome in outcomes.items() if outcome in ("does not hold", "not met")
    }
    if not fails or len(outcomes) < 2:
        return ""
    if len(fails) == len(outcomes):
        return "Not found by this statistic in any setting that was tested: "
    if fails == {"paper", "quick"}:
        return "Only in the printed draw, not over seeds: "
    if "quick" not in fails and outcomes.get("quick") == "holds":
        return (
            "Only in wide networks: "
            if outcomes.get("authors") != "met"
            else ("Not typical of the authors' settings: ")
        )
    if fails == {"quick"}:
        return "Only at the authors' settings: "
    return ""
