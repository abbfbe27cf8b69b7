"""Requests a second with batching against the same without, for a model where batching pays.

Run `python tests/benchmarks/serve_batching.py`. Both are served at once and asked in turns by 32
clients. The model is CLIP with a text transformer of 12 layers, whose time for a short text is that
of starting its operations, whatever the size of the batch. Answers have the same digits either way.
"""

from __future__ import annotations

import argparse

from served import free_port, throughput, train, workplace
from timing import ratio, show, take_turns, verdict

OPTIONS = ("training.epochs=0", "tracking.system=false", "model.encoders.text.depth=12")


def main() -> None:
    """Measures, and prints the ratio at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    options = parser.parse_args()
    with workplace() as folder:
        model = train(folder, OPTIONS)
        from sensorium.runtime.serve_run import running
        from sensorium.serving.settings import check

        port = free_port()
        models = {"batched": 32, "single": 1}
        settings = check({"models": {n: {"model": model, "max_batch": b} for n, b in models.items()}})
        with running(settings, "127.0.0.1", port, None):
            asked = {"text": "a photo of the number two"}
            runs = {
                name: lambda n=name: throughput(f"http://127.0.0.1:{port}/models/{n}/predict", asked, 32, 4)
                for name in models
            }
            take_turns(runs, 1)  # warms up
            rates = take_turns(runs, options.repeat)
    show("32 clients", rates, "requests/s")
    print(verdict("requests/s, batched / single", ratio(rates, "batched", "single"), least=2.0))


if __name__ == "__main__":
    main()
