"""The process of a run that the page asked for: reads an experiment, writes records.

One line of JSON on standard input is the experiment; each evaluation is a line of JSON on
standard output. When standard input closes, the server has ended, and so does this.
"""

import json
import math
import os
import sys
import threading


def main() -> None:
    """Train the experiment on standard input."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not a record
    text = sys.stdin.buffer.readline().decode("utf-8")
    threading.Thread(target=_end_with_the_server, daemon=True).start()

    def send(content: dict[str, object]) -> None:
        output.write(json.dumps(content) + "\n")
        output.flush()

    from lazyrich._base import InputError
    from lazyrich.training import experiment_from_json, train

    def log(metrics: dict[str, float], step: int) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in metrics.items()}
        send(finite | {"step": step})

    try:
        history = train(experiment_from_json(text), log=log)
    except InputError as error:
        send({"error": str(error)})
    except Exception as error:  # whatever it is, the page that waits is told
        send({"error": f"The run failed ({type(error).__name__}); try it with lazyrich train."})
    else:
        send({"done": history.status.name})


def _end_with_the_server() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
