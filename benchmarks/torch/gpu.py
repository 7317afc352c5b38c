"""Kernels of PyTorch modules on a GPU: float32 accuracy first, then absolute times and peers.

    python benchmarks/torch/gpu.py [--case NAME ...] [--rounds 5] [--out FILE]

Networks and peers are those of ``run.py``; the peers' packages must be importable.
``torchvision_resnet18`` is torchvision's own. Memory is what CUDA says was allocated at most.
"""

import argparse
import json
import time
from pathlib import Path

import cases
import numpy as np
import peers
import torch
import worker

import lazyrich.torch as lzt

# Float32 sums in another order, over the largest entry; TF32 has ten bits, 1e-3.
TOLERANCE = 3e-5
# cuDNN rounds convolutions to TF32 unless told not to.
torch.backends.cudnn.allow_tf32 = False


def torchvision_resnet18():
    from torchvision.models import resnet18

    return resnet18(num_classes=10), torch.randn(64, 3, 64, 64)


cases.CASES["torchvision_resnet18"] = cases.Case(
    torchvision_resnet18, True, {"torch.func": 2}, (4, 1)
)


def on_gpu(name):
    """The module and its rows there."""
    model, x = cases.made(name)
    rows = {k: v.cuda() for k, v in x.items()} if isinstance(x, dict) else x.cuda()
    return model.cuda(), rows


def accuracy(name):
    """The largest error over the largest entry, against float64 Jacobians on a few rows."""
    model, x = on_gpu(name)
    traced = cases.CASES[name].traced
    few = {k: v[:3] for k, v in x.items()} if isinstance(x, dict) else x[:3]
    found = lzt.ntk(model, few, trace_outputs=traced).double()
    double = few if isinstance(few, dict) else few.double()
    wanted = peers.by_loop(model.double(), double, traced=traced)
    return float((found - wanted).abs().max() / wanted.abs().max())


def timed(call):
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name, rounds):
    error = accuracy(name)
    if not error < TOLERANCE:
        raise SystemExit(f"{name}: off by {error}")
    model, x = on_gpu(name)
    sides, rows, reference = worker.sides_of(name, model, x), {}, None
    for side, call in list(sides.items()):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            first = timed(lambda call=call, side=side: rows.update({side: {"kernel": call()}}))
        except Exception as failure:
            rows[side] = {"failed": f"{type(failure).__name__}: {failure}".splitlines()[0][:200]}
            continue
        kernel = rows[side].pop("kernel").detach()
        reference = kernel if reference is None else reference
        off = float((kernel - reference).abs().max() / reference.abs().max())
        rows[side] = {"relative_error": off, "first_seconds": first, "seconds": []}
        rows[side]["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    for _ in range(rounds):
        for side, row in rows.items():
            if "seconds" in row and (row["first_seconds"] < 3 or not row["seconds"]):
                row["seconds"].append(timed(sides[side]))
    shown = []
    for side, row in rows.items():
        if "seconds" in row:
            row["seconds"] = float(np.median(row["seconds"]))
            agrees = (
                "" if row["relative_error"] < 1e-4 else f" WRONG by {row['relative_error']:.0e}"
            )
            shown.append(f"{side} {1e3 * row['seconds']:.1f} ms{agrees}")
        else:
            shown.append(f"{side} {row['failed'][:60]}")
    print(f"{name} (error {error:.1e}): " + "; ".join(shown), flush=True)
    return {"error": error, "sides": rows}


def measure_sketch(rounds):
    """A sketch of 16 directions against training steps of a batch of 256."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(784, 400), torch.nn.ReLU(), torch.nn.Linear(400, 250)]
    model = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(250, 10)).cuda()
    x, y = torch.randn(256, 784).cuda(), torch.randint(10, (256,)).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    found = {"step": [], "sketch": []}
    for _ in range(3 * rounds):
        found["step"].append(timed(step))
        found["sketch"].append(timed(lambda: lzt.sketch(model, x[:64], 16)))
    medians = {name: float(np.median(own)) for name, own in found.items()}
    print(f"sketch: {1e3 * medians['sketch']:.1f} ms, a step {1e3 * medians['step']:.2f} ms")
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = [*cases.CASES, "sketch"]
    parser.add_argument("--case", nargs="*", choices=everything, default=everything)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = torch.cuda.get_device_name()
    print(f"{device}, PyTorch {torch.__version__}", flush=True)
    results = {"device": device, "torch": torch.__version__, "cases": {}}
    for name in given.case:
        try:
            one = measure_sketch(given.rounds) if name == "sketch" else measure(name, given.rounds)
        except (Exception, SystemExit) as failure:
            one = {"failed": f"{type(failure).__name__}: {failure}"[:300]}
            print(f"{name}: {failure}"[:300], flush=True)
        results["cases"][name] = one
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
