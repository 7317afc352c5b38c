"""What it costs to try: ``make demo`` in a fresh clone, with a fresh environment.

Downloads count in neither number. The pictures must be there before anything is written
to ``benchmarks/results/first_run.json``, from which the front pages take their sentence.

    python benchmarks/first_run.py
"""

import json
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        subprocess.run(["make", "demo", f"PYTHON={sys.executable}"], cwd=clone, check=True)
        for picture in ("fig1.png", "fig4.png"):
            assert (clone / "reproduction" / picture).stat().st_size > 0, picture
        files = (path for path in (clone / ".venv").rglob("*") if path.is_file())
        n_bytes = sum(path.stat().st_size for path in files if not path.is_symlink())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "environment_bytes": n_bytes,
        "python": platform.python_version(),
        "system": platform.system(),
    }
    path = ROOT / "benchmarks" / "results" / "first_run.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}: {result}")


if __name__ == "__main__":
    main()
