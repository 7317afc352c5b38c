"""Oracle: the examples' own asserts; each runs as a script does, and says something."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SLOW = {
    "01_kernel_and_alignment",
    "03_train_and_measure",
    "04_sweep_and_delay",
    "05_exact_dynamics",
    "09_diagnose_jax",
    "10_watch_pytorch",
}
NEEDS_TORCH = {"07_pytorch_resnet", "08_language_model", "10_watch_pytorch"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else (), id=path.stem)
        for path in EXAMPLES
    ],
)
def test_it_runs(path, capsys, tmp_path, monkeypatch, unchecked, require_extra):
    if path.stem in NEEDS_TORCH:
        require_extra("torch")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.count("\n") > 1
    assert 20 <= len(path.read_text(encoding="utf-8").splitlines()) <= 50
