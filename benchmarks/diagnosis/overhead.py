"""What watching a run of 1000 steps costs: as the watch says, and processor time, in turns.

With --large instead what the diagnosis of ResNet-18 takes, on 64 images of 32 × 32.

    python benchmarks/diagnosis/overhead.py [--large]
"""

import argparse
import importlib.util
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

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


def watching() -> dict[str, Any]:
    """Watched and not watched, in turns."""
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
    return {"torch": torch.__version__, "alone_seconds": round(alone, 3), "rows": rows}


def diagnosing() -> dict[str, Any]:
    """Processor seconds and peak memory of one diagnosis of a large network."""
    path = Path(__file__).parents[1] / "torch" / "cases.py"
    spec = importlib.util.spec_from_file_location("torch_cases", path)
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    torch.manual_seed(0)
    model, _ = cases.resnet18()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * parameter.std() * torch.randn_like(parameter)
    x, y = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    began = time.process_time()
    lzt.diagnose(model, before=start, x=x, y=y)
    return {
        "torch": torch.__version__,
        "n_parameters": sum(one.numel() for one in model.parameters()),
        "seconds": round(time.process_time() - began, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    is_large = parser.parse_args().large
    torch.set_num_threads(1)
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    result |= {"large": diagnosing()} if is_large else watching()
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
