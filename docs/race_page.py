"""The page on what makes networks generalise sooner, from ``results/race``."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from lazyrich.race import (
    CLAIM,
    CONTROLS,
    ArmSummary,
    DelayLaw,
    Results,
    controls_of,
    default_edition,
    fit_law,
    summarize,
    table,
    winners,
)
from lazyrich.race._rows import Row

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "race"
MEASURED = ROOT / "src" / "lazyrich" / "diagnosis" / "measured.json"
PAGE = ROOT / "docs" / "how-to" / "generalise-sooner.md"
NOT_MEASURED = "not measured yet"

# Which arms do what the advice on a cause says.
ARMS_OF_CAUSE = {
    "logits that grow": ("temperature", "orthogonal_gradient", "stablemax"),
    "lazy training": ("alpha", "first_layers"),
    "a parameter norm that is larger than needed": ("norm", "late_l2"),
}
PICTURES = {
    "survival": "Share of runs with fresh seeds that have not reached the target",
    "speed-up": "Restricted mean time of tuned AdamW over that of each arm",
    "search": "Expected fastest of k tuning trials",
    "fit": "When the training rows are fitted against when the target is met; arms whose median run never fits are left out",
    "sensitivity": "Every tuning trial, and the share within a factor two of the fastest",
}


def results() -> Results:
    """The published results of the package's edition."""
    return Results(RESULTS, default_edition())


@cache
def law_of(task: str) -> DelayLaw:
    """The delay law of a task, from the published runs."""
    return fit_law(_law_rows()[task])


@cache
def summaries() -> dict[str, dict[str, ArmSummary]]:
    """Every arm with fresh runs, by task."""
    found = results()
    return {task: summarize(found, task) for task in found.edition.task}


def effect(found: dict[str, dict[str, ArmSummary]], titles: dict[str, str], cause: str) -> str:
    """What was measured of the arms that follow the advice on a cause."""
    said = []
    for arm in ARMS_OF_CAUSE.get(cause, ()):
        ratios = [
            f"{speed_up.value:.2f} ({speed_up.low:.2f} to {speed_up.high:.2f}) on {task}"
            for task, one in found.items()
            if arm in one and (speed_up := one[arm].speed_up) is not None
        ]
        if ratios:
            said.append(f"{titles[arm]} {', '.join(ratios)}")
    if not said:
        return NOT_MEASURED
    return (
        "times as fast as tuned AdamW, 95 % intervals, 15 trials each, small tasks: "
        + "; ".join(said)
    )


def law_text() -> str:
    """The slopes of the delay law, or that it is not measured."""
    rows = _law_rows()
    if not rows:
        return NOT_MEASURED
    parts = []
    for task in rows:
        slope = law_of(task).slope
        parts.append(f"{slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f}) on {task}")
    return f"log–log slope of the delay in rate × decay: {', '.join(parts)}"


def measured() -> str:
    """The file from which the advice cites: a text for each cause, and the edition."""
    found = results()
    titles = {arm: about.title for arm, about in found.edition.arm.items()}
    by_task = summaries()
    texts = {cause: effect(by_task, titles, cause) for cause in ARMS_OF_CAUSE}
    law = law_text()
    if law != NOT_MEASURED:
        name = "a parameter norm that is larger than needed"
        texts[name] = law if texts[name] == NOT_MEASURED else f"{texts[name]}; {law}"
    texts = {cause: text for cause, text in texts.items() if text != NOT_MEASURED}
    content = {"edition": found.edition.hash, "effects": texts}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def page() -> str:
    """The whole page."""
    found = results()
    by_task = summaries()
    edition = found.edition
    return _TEXT.format(
        hash=edition.hash[:8],
        verdict=_verdict(by_task, edition),
        tables="\n".join(_table(found, task) for task in edition.task),
        pictures=_pictures(),
        controls=_controls(found, by_task),
        law=_law(),
        settings=_settings(by_task, edition),
    )


def _verdict(by_task: dict[str, dict[str, ArmSummary]], edition: Any) -> str:
    compared = [
        (task, one) for task, arms in by_task.items() for one in arms.values() if one.speed_up
    ]
    if not compared:
        return "Nothing is compared yet."
    done = [task for task, arms in by_task.items() if any(one.speed_up for one in arms.values())]
    held = [task for task in done if edition.task[task].settings_from]
    words = []
    for name, is_it in (
        ("faster", lambda one: one.speed_up.low > 1 and one.p_value < 0.05),
        ("slower", lambda one: one.speed_up.high < 1 and one.p_value < 0.05),
    ):
        some = [
            f"{edition.arm[one.arm].title} on {task} ({one.speed_up.value:.2f})"  # ty: ignore
            for task, one in compared
            if is_it(one)
        ]
        words.append(f"{len(some)} {name}" + (f" ({', '.join(some)})" if some else ""))
    missing = [
        f"{task} ({n_done} of {n_arms} arms)"
        for task in edition.task
        for n_arms in [sum(edition.fits(task, arm) for arm in edition.arm)]
        for n_done in [sum(one.is_complete for one in by_task[task].values())]
        if n_done < n_arms
    ]
    rest = f" Not finished: {', '.join(missing)}." if missing else ""
    return (
        f"Compared so far: {len(compared)} pairs of arm and task on {len(done)} of "
        f"{len(edition.task)} tasks ({len(held)} held out). By both the interval and the test "
        f"{' and '.join(words)} than tuned AdamW; for the others the runs do not decide.{rest}"
    )


_COLUMNS = {
    "arm": "arm",
    "reached": "reached the target",
    "mean_time": "restricted mean steps",
    "speed_up": "times as fast",
    "p": "p (Holm)",
    "best_of_search": "best of a study",
    "near_best": "near best",
    "fit": "fit",
    "gradients_a_step": "gradients a step",
    "ms_a_step": "ms a step",
}


def _table(found: Results, task: str) -> str:
    about = found.edition.task[task]
    lines = [f"### {about.title[0].upper()}{about.title[1:]}", ""]
    sign = "≥" if about.target.metric == "accuracy" else "≤"
    lines += [
        f"`{task}`: validation {about.target.metric} {sign} {about.target.level:g}, "
        f"T_max {about.max_steps} steps.",
        "",
    ]
    rows = table(found, tasks=[task])
    if not rows:
        return "\n".join([*lines, "Not run yet.", ""])
    lines += [f"| {' | '.join(_COLUMNS.values())} |", "|---" * len(_COLUMNS) + "|"]
    for row in rows:
        cells = row | {"arm": found.edition.arm[str(row["arm"])].title}
        lines.append(f"| {' | '.join(str(cells[name] or '–') for name in _COLUMNS)} |")
    lines += ["", *_at_fit(found, summaries()[task])]
    return "\n".join(lines)


def _at_fit(found: Results, arms: dict[str, ArmSummary]) -> list[str]:
    """Fit and generalisation apart, and what the networks look like at the fit."""
    lines = [
        "| arm | fit | then until the target | rate × decay | logit scale at the fit | "
        "norm at the fit / start | test at the end |",
        "|---" * 7 + "|",
    ]
    for one in sorted(arms.values(), key=lambda one: one.mean_time.value):
        wait = one.mean_time.value - one.fit_time
        cells = [
            found.edition.arm[one.arm].title,
            _number(one.fit_time),
            _number(wait),
            "–" if one.rate_times_decay is None else f"{one.rate_times_decay:.1e}",
            _number(one.at_fit.get("logit scale")),
            _number(one.at_fit.get("norm")),
            _number(one.test),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:.3g}"


def _controls(found: Results, by_task: dict[str, dict[str, ArmSummary]]) -> str:
    lines = [
        "| task | arm | times as fast | with the rate × decay of AdamW | AdamW with its output "
        "scale | kernel cosine at the fit |",
        "|---" * 6 + "|",
    ]
    for task, arms in by_task.items():
        for arm in winners(arms):
            known = {one.name: one for one in controls_of(found, task, arm)}
            ratios = [known[name].speed_up if name in known else None for name in CONTROLS[:2]]
            cosine = known[CONTROLS[2]].kernel_cosine if CONTROLS[2] in known else None
            cells = [_interval(one) for one in (arms[arm].speed_up, *ratios)]
            title = found.edition.arm[arm].title
            lines.append(f"| {task} | {title} | {' | '.join(cells)} | {_number(cosine)} |")
    return "\n".join(lines) if len(lines) > 2 else "No arm has won yet."


def _interval(one: Any) -> str:
    return "–" if one is None else f"{one.value:.2f} ({one.low:.2f}–{one.high:.2f})"


def _pictures() -> str:
    shown = [
        f"![{text}](../../results/race/{name}.png)\n\n{text}.\n"
        for name, text in PICTURES.items()
        if (RESULTS / f"{name}.png").exists()
    ]
    return "\n".join(shown)


def _law_rows() -> dict[str, list[Row]]:
    by_task: dict[str, list[Row]] = {}
    for row in results().rows("delay-law", "adamw"):
        by_task.setdefault(row["task"], []).append(row)
    return by_task


def _law() -> str:
    rows = _law_rows()
    if not rows:
        return "Not measured yet."
    low, high = CLAIM
    lines = [
        "| task | slope | delay is shortest at rate × decay | runs (censored) | claim |",
        "|---" * 5 + "|",
    ]
    for task in rows:
        law = law_of(task)
        slope = law.slope
        if low <= slope.low and slope.high <= high:
            verdict = "holds"
        elif slope.high < low or slope.low > high:
            verdict = "fails"
        else:
            verdict = "undecided"
        lines.append(
            f"| {task} | {slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f}) | "
            f"{law.saturates_at:.2g} | {law.n_runs} ({law.n_censored}) | {verdict} |"
        )
    picture = "![The delay law](../../results/race/delay-law.png)"
    has_picture = (RESULTS / "delay-law.png").exists()
    return "\n".join([*lines, "", picture if has_picture else ""])


def _settings(by_task: dict[str, dict[str, ArmSummary]], edition: Any) -> str:
    lines = ["| task | arm | study | settings |", "|---|---|---|---|"]
    for task, arms in by_task.items():
        for one in arms.values():
            for study, settings in one.settings.items():
                text = ", ".join(
                    f"{path.split('.', 1)[1]} {'all' if value is None else value}"
                    for path, value in settings.items()
                )
                lines.append(f"| {task} | {edition.arm[one.arm].title} | {study} | {text} |")
    return "\n".join(lines)


_TEXT = """# What makes it generalise sooner

Papers on faster grokking compare a method with an untuned baseline, often on one seed, and change
weight decay, clipping or optimizer at the same time. Here every method gets the same tuning budget, and
so does the baseline. {verdict}

| question | answer |
|---|---|
| what is compared | arms: a method with learning rate, weight decay, batch and at most two hyperparameters of its own to be searched |
| budget | 3 studies of 5 quasi-random (Sobol) trials, one seed a trial, for every arm |
| target | on validation rows, held for 200 further steps; the test rows are read once, at the end of a run |
| a miss | is censored at T_max, five times the median time of tuned AdamW in a pilot; never dropped, never zero |
| final runs | the best settings of each study with 10 fresh seeds, which all arms share |
| times as fast | restricted mean time of tuned AdamW over that of the arm; 95 % interval from resampling seeds (in pairs) and studies |
| p | sign flips of the 10 paired differences, at the settings that were found; Holm over the arms of a task |
| reached | share of runs, Wilson's interval for 10 seeds |
| near best | share of tuning trials within a factor two of the fastest |

Rules, tasks, arms, spaces, targets and T_max are in `src/lazyrich/race/race.toml`, which was
committed before the arms ran; this is edition `{hash}`. Every trial is in `results/race`, one file
for each arm on each task.

## What was found

{tables}
{pictures}
## Controls of the winners

An arm that is faster by the interval and by the test runs again with the fresh seeds: with the
decay at which its rate × decay is that of tuned AdamW; and AdamW runs with the arm's initial
output scale α at its own rate, which for cross-entropy is a temperature. Both are compared with
tuned AdamW as before. The kernel cosine is that of the tangent kernel at the fit with the kernel at
the start, median over runs: 1 is lazy. A dash: not run yet.

{controls}

## The delay law

The number of steps from the fit to the target, against the learning rate times weight decay of AdamW.
The claim, fixed beforehand: the delay is inversely proportional to the product: a slope between −1.25 and −0.75.
The line is fitted by maximum likelihood including the censored runs, up to the product at which
the delay is shortest; beyond it the labels are hardly fitted.

{law}

## What may mislead

- **The search is part of the result.** Five trials in a space of three to five dimensions often
  miss the good region. An arm with more hyperparameters has a harder search, as it would in
  practice. The curves of the expected best show the effect of more trials.
- **Rate × decay.** A method that allows a larger product of rate and decay is faster for that
  reason alone; the second table of each task shows the products that were found.
- **Temperature and α are one hyperparameter** for an uncentred network with cross-entropy at one rate; the
  arm α also scales the rate.
- **The test is conditional.** p values are for the settings that were found; the interval also includes
  the variance of the search. Where they disagree, the comparison is undecided.
- **T_max comes from AdamW.** A slower method is censored more; its restricted mean is a lower bound.
- **Gradients a step** count what a step costs; with three of them a speed-up of three in steps is no
  speed-up. Milliseconds are of one thread, compilation included.
- **Sizes are reduced** so that a trial takes seconds: moduli of 31, hundreds of rows, validation
  sets of 72 to 300 rows. The results may not transfer to large networks. `--full` has the sizes of the
  papers (moduli of 59 and 97, 1000 images of MNIST), for a GPU, where trials that share a program are one
  batch; its T_max is known from pilots, its arms have not been run.
- Jacobian alignment is not defined for tokens, temperature and StableMax not for squared error.

## Settings that were found

Every arm's best settings in each study, including arms that are not faster.

{settings}

## Run it

```sh
lazyrich race --out results/race                        # everything; resumes where it was stopped
lazyrich race --out results/race --task parity --arm muon   # one arm again, on one task
lazyrich race --out results/race --show --figures       # run nothing; table and pictures
lazyrich race --out results/race --controls             # of the winners
lazyrich race --out results/race --delay-law
lazyrich race --full --out results/race-full            # the papers' sizes, on a GPU
lazyrich race --smoke                                   # every arm on one tiny task, in a minute
```

A trial that is published is not run again; delete its file to repeat it. Results of another edition
are refused, never overwritten: choose another `--out`. Any method can be used by itself:

```sh
lazyrich train modular --set optimizer.kind=muon --set optimizer.learning_rate=0.02 --set optimizer.weight_decay=0.1
lazyrich train transformer --set objective.kind=temperature --set objective.temperature=2
lazyrich train digits --set scaling.first_layer_scale=4
```

## Add a method

An optimizer is one file, `src/lazyrich/training/methods/_signs.py`:

```python
\"\"\"The sign of the gradient: every parameter moves by the learning rate.\"\"\"

from typing import Literal

import optax

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


class Signs(DecoupledDecay):
    \"\"\"θ ← θ − η(sign(g) + λθ).\"\"\"

    kind: Literal["signs"] = "signs"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_sign(),
            optax.add_decayed_weights(self._decay(hyper)),
            optax.scale_by_learning_rate(self._rate(hyper)),
        )
```

Enter it in the union of `src/lazyrich/training/_optimizer_kinds.py`,

```diff
+from .methods._signs import Signs
-    | ColumnNormalization,
+    | ColumnNormalization
+    | Signs,
```

and give it an arm in `src/lazyrich/race/race.toml`, with at most two hyperparameters in a table `space`:

```toml
[arm.signs]
title = "signs"
family = "spectrum"
reference = "arXiv:1802.04434"
set = {{ "optimizer.kind" = "signs" }}
```

`lazyrich race --smoke --arm signs` shows that it runs. A new arm makes a new edition, so its results
need their own folder: `lazyrich race --arm adamw --arm signs --out mine`. A loss is an `Objective`
(`methods/_stablemax.py` is one), an initial law a function of parameters (`methods/_first_layers.py`).
"""
