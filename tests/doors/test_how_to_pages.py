"""Oracle: the pages themselves; every snippet runs as printed and its asserts hold."""

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize(
    "page, extra",
    [
        pytest.param("equinox", "equinox", marks=pytest.mark.slow),
        ("pytorch", "torch"),
        ("explore", "jax"),
        ("from-neural-tangents", "jax"),
        ("from-torch-func", "torch"),
        pytest.param(
            "language-models",
            "transformers",
            marks=pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
        ),
        pytest.param("diagnose", "torch", marks=pytest.mark.slow),
        pytest.param("flax", "flax", marks=pytest.mark.slow),
        pytest.param("big-kernels", "matfree", marks=pytest.mark.slow),
        pytest.param("train", "optax", marks=pytest.mark.slow),
        pytest.param("add-an-optimizer", "optax", marks=pytest.mark.slow),
        pytest.param("add-a-task", "optax", marks=pytest.mark.slow),
        ("add-a-kernel-rule", "jax"),
    ],
)
def test_snippets_run_as_printed(page, extra, require_extra, unchecked, monkeypatch, tmp_path):
    require_extra(extra)
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert snippets
    exec(compile("\n".join(snippets), f"{page}.md", "exec"), {"__name__": page})
