"""Write what is made from recorded results; ``make readme`` and ``make docs`` run it.

A block of a page stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The
claims, and the pages in ``docs/figures``, come from ``results/claims.json``; the performance
tables from ``benchmarks``; the gallery from what ``docs/gallery_page.py`` recorded.
"""

import json
import re
import statistics
from pathlib import Path

import calibration_page
import claims_pages
import gallery_page
import race_page

ROOT = Path(__file__).parents[1]


def cost_sentence() -> str:
    """What ``make demo`` takes in a fresh environment."""
    path = ROOT / "benchmarks" / "results" / "first_run.json"
    cost = json.loads(path.read_text(encoding="utf-8"))
    minutes, megabytes = cost["processor_seconds"] / 60, cost["environment_bytes"] / 1e6
    return (
        f"This takes about {max(1, round(minutes))} min of processor time and "
        f"{round(megabytes, -1):.0f} MB for the folder `.venv`, besides downloads (Python "
        f"{cost['python']}, {cost['system']})."
    )


def performance_table() -> str:
    """The committee machine's benchmark, one column for each thread count."""
    result = json.loads(
        (ROOT / "benchmarks" / "results" / "committee.json").read_text(encoding="utf-8")
    )
    rows, made = result["rows"], result["made"]
    names = list(rows)
    lines = [f"| D=100, P=550 | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in rows[names[0]]:
        values = " | ".join(_readable(rows[name][key]) for name in names)
        lines.append(f"| {key} | {values} |")
    lines += [
        "",
        f"Measured on {made['processor']}; Python {made['python']}, JAX {made['jax']}, "
        f"PyTorch {made['torch']}, diffrax {made['diffrax']}; commit {made['commit']}; "
        "`make benchmark` measures again.",
    ]
    return "\n".join(lines)


def kernels_table() -> str:
    """The tangent kernel's benchmark: each case against its fastest correct peer."""
    path = ROOT / "benchmarks" / "ntk" / "results" / "cpu.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| case | lazyrich | peer | peer's time/ours |", "|---|---|---|---|"]
    for name, title in CASES.items():
        case = result["cases"][name]
        for peer in ("neural-tangents", "torch.func"):
            if peer in case:
                found = case[peer]
                lines.append(
                    f"| {title} | {_readable(1e3 * case['ours_seconds'])} ms | {peer}"
                    f"{MODES.get(found['best'], '')}, {_readable(1e3 * found['seconds'])} ms "
                    f"| {_readable(found['ratio'])} |"
                )
    lines += _larger_networks()
    growth, machine = result["cases"]["growth"], result["machine"]
    exponent = max(growth["time_exponents"].values())
    versions = machine["versions"]
    lines += [
        "",
        f"From 500 to 4000 rows the traced kernel's time grows as P^{exponent:.2f} at most. "
        f"Measured on {machine['processor']}, {machine['cores']} cores; JAX {versions['jax']}, "
        f"PyTorch {versions['torch']}; peer {', '.join(machine['peer'])}; "
        f"commit {machine['commit'][:7]}; `make benchmark` measures again.",
    ]
    return "\n".join(lines)


def _larger_networks() -> list[str]:
    """Rows of traced kernels on one core, in processor time, each against the fastest peer."""
    path = ROOT / "benchmarks" / "ntk" / "results" / "peers.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [
        f"| {title} | {_readable(1e3 * found['ours_seconds'])} ms | {PEERS[found['best']]}, "
        f"{_readable(1e3 * found['seconds'])} ms | {_readable(found['ratio'])} |"
        for name, title in NETWORKS.items()
        for found in [cases.get(name, {}).get("1")]
        if found
    ]


def training_table() -> str:
    """Training steps against PyTorch, many runs at once, and the cost of measuring."""
    folder = ROOT / "benchmarks" / "training" / "results"
    steps = json.loads((folder / "cpu.json").read_text(encoding="utf-8"))
    many = json.loads((folder / "many.json").read_text(encoding="utf-8"))
    lines = [
        "| a step of | threads | lazyrich | best of PyTorch | ratio | of the GEMM peak |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in STEPS.items():
        for threads, case in steps["cases"][name].items():
            ours = case["ours_seconds"]
            peer = case["best_peer"].removeprefix("torch ")
            theirs = f"{_readable(1e3 * ours * case['ratio'])} ms ({peer})"
            share = f"{100 * case['share_of_gemm_peak']:.0f} %"
            row = [title, threads, f"{_readable(1e3 * ours)} ms", theirs, _readable(case["ratio"])]
            lines.append(f"| {' | '.join(row)} | {share} |")
    of_runs, machine = many["many_runs"], steps["machine"]
    more = ", ".join(f"{name} {100 * m['more']:.0f} %" for name, m in many["measuring"].items())
    versions = machine["versions"]
    lines += [
        "",
        f"{of_runs['n_runs']} seeds of student and teacher, time per step and run relative to one "
        f"alone: {of_runs['loop'] / of_runs['alone']:.2f} one after another, "
        f"{of_runs['threads'] / of_runs['alone']:.2f} on threads, "
        f"{of_runs['vmap'] / of_runs['alone']:.2f} in one `vmap`, chosen by measuring: "
        f"{of_runs['auto'] / of_runs['alone']:.2f}. Default metrics and schedule cost: {more}. "
        f"Measured on {machine['processor']}, {machine['cores']} cores; JAX {versions['jax']}, "
        f"PyTorch {versions['torch']}; commit {machine['commit'][:7]}; `make benchmark` measures "
        "again.",
    ]
    return "\n".join(lines)


def modules_table() -> str:
    """Kernels of PyTorch modules: processor seconds of one thread, by kind of peer."""
    path = ROOT / "benchmarks" / "torch" / "results" / "cpu.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    lines = [
        "| network | rows | outputs | this package | `torch.func` | nngeometry | curvlinops |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in MODULES.items():
        sides = cases[name]["sides"]
        cells = [
            _best(sides, kind) for kind in ("lazyrich", "torch.func", "nngeometry", "curvlinops")
        ]
        if any(side["verdict"] == "failed" for side in sides.values()):
            cells[0] += f", {sides['lazyrich']['peak_gib']:.1f} GiB"
        if loop := _best(sides, "loop"):
            cells[1] = f"{loop} (a loop over rows)"
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def modules_on_a_gpu_table() -> str:
    """Kernels of PyTorch modules on a GPU: milliseconds, by kind of peer."""
    path = ROOT / "benchmarks" / "torch" / "results" / "gpu.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"| {result['device']}, milliseconds | rows | outputs | this package | `torch.func` | "
        "nngeometry | curvlinops | a loop over rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, title in MODULES.items():
        sides = result["cases"][name]["sides"]
        cells = []
        for kind in ("lazyrich", "torch.func", "nngeometry", "curvlinops", "loop"):
            times = [side["seconds"] for of, side in sides.items() if of.startswith(kind)]
            cells.append(_readable(1e3 * min(times)) if times else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _best(sides: dict, kind: str) -> str:
    """The time of the fastest of a kind; empty if there is none."""
    some = [side for name, side in sides.items() if name.startswith(kind)]
    times = [statistics.median(s["seconds"]["1"]) for s in some if s["verdict"] == "equal"]
    if times:
        return f"{_readable(min(times))} s"
    is_too_large = some and all("alloc" in side.get("error", "") for side in some)
    return "more than 8 GiB" if is_too_large else ""


def watching_table() -> str:
    """What watching a run costs, and the diagnosis of a large network."""
    path = ROOT / "benchmarks" / "diagnosis" / "results" / "overhead.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    rows, large = result["rows"], result["large"]
    titles = ("not watched", "the default share, 0.02", "`share=1.0`")
    lines = [
        "| 1000 steps | measurements | reported by the watch | processor time | added |",
        "|---|---|---|---|---|",
    ]
    for title, row in zip(titles, rows, strict=True):
        said, added = (f"{round(100 * row[name], 1) + 0.0:.1f} %" for name in ("said", "added"))
        seconds = f"{_readable(row['seconds'])} s"
        cells = (
            (row["measurements"], said, seconds, added) if row["share"] else ("", "", seconds, "")
        )
        lines.append(f"| {title} | {' | '.join(map(str, cells))} |")
    lines += [
        "",
        f"One diagnosis of ResNet-18 ({large['n_parameters'] / 1e6:.0f} million parameters) on 64 "
        f"images of 32 × 32 takes {large['seconds']:.0f} s of processor time on one "
        f"thread, in a process of at most {large['peak_gib']:.1f} GiB.",
    ]
    return "\n".join(lines)


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


# How the benchmark names the peer's implementations: number, and whether it maps rows.
MODES = {"neural-tangents 3-0": " (structured)", "neural-tangents 2-0": " (products)"}
CASES = {
    "committee": "committee machine, P=550, N=500, D=100",
    "mlp_full": "MLP 784-200-200-10 ReLU, 200 inputs, (200·10)²",
    "mlp_traced": "the same, traced",
    "transformer": "one-layer transformer, 64 inputs, all outputs",
}
# Traced kernels on one core.
NETWORKS = {
    "lenet_64": "LeNet-like, 64 images 28×28, traced, one core",
    "resnet": "small ResNet, 32 images 32×32, traced, one core",
    "resnet_batch_normalised": "the same with batch normalisation",
    "decoder_written_out": "decoder of 4 layers, d=64, T=32, 32 rows, traced, one core",
    "decoder_scanned": "the same by `scan`",
    "decoder_rematerialised": "the same with `jax.checkpoint`",
    "vision_transformer": "ViT-like, 4 layers, d=64, T=64, 32 rows, traced, one core",
}
PEERS = {
    "jacobians": "Jacobians by `jacrev`, one `jit`",
    "neural-tangents-1": "neural-tangents (Jacobians)",
    "neural-tangents-2": "neural-tangents (products)",
    "neural-tangents-3": "neural-tangents (structured)",
}
STEPS = {
    "student_teacher": "student and teacher, 5-100-100-5 tanh, 100 points, AdamW",
    "mnist_mlp": "MLP 784-200-200-10, batches of 200, AdamW",
    "transformer": "one-layer transformer, p=113, 3831 pairs, AdamW",
}
MODULES = {
    "mlp": "MLP 784-200-200-10 | 200 | 10",
    "cnn": "convolutional network, 28 × 28 | 64 | 10",
    "cnn_traced": "the same, traced over outputs | 64 | 10",
    "resnet": "residual network with batch norm, 32 × 32 | 32 | 10",
    "resnet_traced": "the same, traced over outputs | 32 | 10",
    "resnet18": "ResNet-18, 64 × 64, traced | 64 | 10",
    "gpt2": "GPT-2 of two layers, one logit | 64 | 1",
}
BLOCKS = {
    "cost": cost_sentence,
    "survives": claims_pages.survives,
    "claims": claims_pages.summary,
    "performance": performance_table,
    "kernels": kernels_table,
    "training": training_table,
    "modules": modules_table,
    "modules on a GPU": modules_on_a_gpu_table,
    "watching": watching_table,
}
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "index.md",
    ROOT / "docs" / "how-to" / "pytorch.md",
    ROOT / "docs" / "how-to" / "diagnose.md",
]


def filled(text: str) -> str:
    """The text with every generated block filled anew."""
    for name, table in BLOCKS.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        if not re.search(pattern, text, re.DOTALL):
            continue
        content = table()
        text = re.sub(
            pattern, lambda found, c=content: f"{found[1]}{c}\n{found[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    for file_name, page in claims_pages.pages().items():
        (ROOT / "docs" / "figures" / file_name).write_text(page, encoding="utf-8")
    calibration = ROOT / "docs" / "how-to" / "diagnosis-calibration.md"
    calibration.write_text(calibration_page.page(), encoding="utf-8")
    gallery_page.PAGE.write_text(gallery_page.page(), encoding="utf-8")
    race_page.PAGE.write_text(race_page.page(), encoding="utf-8")
    race_page.MEASURED.write_text(race_page.measured(), encoding="utf-8")
