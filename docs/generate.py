"""Fill the generated blocks of the README from recorded results; ``make readme`` runs it.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The claims come
from ``results/claims.json``, the performance table from ``benchmarks/results``.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def claims_table() -> str:
    """Every recorded claim: sentence, statistic, what was measured, verdict."""
    figures = json.loads((ROOT / "results" / "claims.json").read_text(encoding="utf-8"))["figures"]
    lines = []
    for name, figure in figures.items():
        made = figure["provenance"]
        lines += [
            f"**{name}**, preset `{figure['preset']}`, {len(figure['seeds'])} seeds "
            f"(lazyrich {made['lazyrich']}, JAX {made['jax']}, {made['machine']}):",
            "",
            "| the paper says | statistic | measured | holds if | verdict |",
            "|---|---|---|---|---|",
        ]
        for row in figure["claims"]:
            low, high = (f"{float(value):.3g}" for value in row["interval"])
            measured = f"{float(row['median']):.3g} ({low} to {high})"
            lines.append(
                f"| {row['sentence']} ({row['where']}) | {row['statistic'].replace('|', '∣')} "
                f"| {measured} | {row['threshold']} | {row['verdict']} |"
            )
        lines.append("")
    return "\n".join([*lines, "Measured: median over seeds and its 95 % bootstrap interval."])


def performance_table() -> str:
    """The committee machine's benchmark, one column for each thread count."""
    result = json.loads(
        (ROOT / "benchmarks" / "results" / "committee.json").read_text(encoding="utf-8")
    )
    rows, made = result["rows"], result["made"]
    names = list(rows)
    lines = [f"| D=100, P=550 | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in rows[names[0]]:
        values = " | ".join(f"{rows[name][key]:.3g}" for name in names)
        lines.append(f"| {key} | {values} |")
    lines += [
        "",
        f"Measured on {made['processor']}; Python {made['python']}, JAX {made['jax']}, "
        f"PyTorch {made['torch']}, diffrax {made['diffrax']}; commit {made['commit']}; "
        "`make benchmark` measures again.",
    ]
    return "\n".join(lines)


BLOCKS = {"claims": claims_table, "performance": performance_table}


def filled(text: str) -> str:
    """The text with every generated block filled anew."""
    for name, table in BLOCKS.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        content = table()
        text = re.sub(
            pattern, lambda found, c=content: f"{found[1]}{c}\n{found[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
