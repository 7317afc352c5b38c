"""What watching a run of 1000 steps costs: as the watch says, and processor time, in turns.

python benchmarks/diagnosis/overhead.py
"""

import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import lazyrich.torch as lzt

RESULTS = Path(__file__).parent / "results" / "overhead.json"
N_STEPS, N_ROUNDS = 1000, 5
SHARES = (None, 0.02, 1.0)


def run(share: float | None) -> tuple[float, float, int]:
    """Processor seconds of a run, the part that the watch says it took, its measurements."""
    torch.manual_seed(0)
    x, y = torch.randn(200, 784), torch.randint(10, (200,))
    model = nn.Sequential(
        nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def train() -> None:
        for _ in range(N_STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    began, clock = time.process_time(), time.perf_counter()
    if share is None:
        train()
        return time.process_time() - began, 0.0, 0
    with lzt.watch(model, optimizer, (x[:64], y[:64]), share=share) as monitor:
        train()
    said = monitor.spent / (time.perf_counter() - clock)
    return time.process_time() - began, said, len(monitor.records)


def main() -> None:
    """Measure, print and write down."""
    torch.set_num_threads(1)
    run(1.0)  # what is loaded at its first use is no part of a run
    rounds = [[run(share) for share in SHARES] for _ in range(N_ROUNDS)]
    alone = statistics.median(one[0][0] for one in rounds)
    rows = [
        {
            "share": share,
            "seconds": round(statistics.median(one[k][0] for one in rounds), 3),
            "said": round(statistics.median(one[k][1] for one in rounds), 4),
            "added": round(statistics.median(one[k][0] / one[0][0] - 1 for one in rounds), 4),
            "measurements": rounds[-1][k][2],
        }
        for k, share in enumerate(SHARES)
    ]
    result = {"torch": torch.__version__, "alone_seconds": round(alone, 3), "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
