"""Curves of fifty random settings in double precision, for the page's own arithmetic to meet.

``PYTHONPATH=tests python tests/explorer/golden.py`` writes them anew.
"""

import json
import sys
from pathlib import Path

import numpy as np

from explorer.play_curves import play_curves
from explorer.play_settings import PlaySettings
from lazyrich.curves import fall_step
from lazyrich.training._schedule import log_steps

FILE = Path(__file__).parent / "golden.jsonl"
COMPARED = (0, 1, 2, 3, 5, 10, 30, 100, 200, 400, 700, 1000)
SHARES = (0.5, 0.3, 0.1)
N_SETTINGS, N_RECORDS = 50, 120


def random_settings(number: int) -> PlaySettings:
    """Settings from the sliders' ranges, at learning rates below those that diverge."""
    rng = np.random.default_rng(number)
    dim = int(rng.integers(5, 41))

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return PlaySettings(
        alpha=log_uniform(0.25, 64),
        epsilon=log_uniform(0.01, 0.5),
        dim=dim,
        n_train=int(np.clip(rng.uniform(1, 6) * dim, 5, 200)),
        width=None if number % 5 == 0 else int(log_uniform(2, 1000)),
        weight_scale=log_uniform(0.5, 2),
        learning_rate=log_uniform(0.05, 1),
        momentum=float(rng.uniform(0, 0.9)) if number % 3 == 0 else 0.0,
        noise=float(rng.uniform(0, 0.5)) if number % 4 == 0 else 0.0,
        seed=int(rng.integers(100)),
        center=bool(rng.integers(2)),
        n_steps=int(log_uniform(1500, 6000)),
    )


def record(settings: PlaySettings) -> dict:
    """Curves up to step 1000, and the steps at which the losses cross after it."""
    curves = play_curves(settings, np.array(COMPARED))
    steps = log_steps(settings.n_steps, N_RECORDS)
    whole = play_curves(settings, steps)
    start = whole["train_loss"][0]
    return {
        "settings": settings.model_dump(mode="json"),
        "steps": list(COMPARED),
        "curves": {name: values.tolist() for name, values in curves.items()},
        "crossings": {
            name: [_step(steps, whole[name], share * start) for share in SHARES]
            for name in ("train_loss", "test_loss")
        },
    }


def _step(steps: np.ndarray, loss: np.ndarray, level: float) -> float | None:
    found = float(fall_step(steps, loss, level))
    return found if np.isfinite(found) else None


if __name__ == "__main__":
    lines = []
    for k in range(N_SETTINGS):
        lines.append(json.dumps(record(random_settings(k))))
        sys.stdout.write(f"{k} ")
        sys.stdout.flush()
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
