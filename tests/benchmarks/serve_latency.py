"""One request, and sixteen clients, against bare FastAPI and torch with the same model.

Run `python tests/benchmarks/serve_latency.py`. Both servers run all the time and are asked in turns.
The model is CLIP with a vision transformer of 8 layers. Both compute an answer on one of torch's threads,
and several answers side by side on all cores; the bare one does so from FastAPI's thread pool.
"""

from __future__ import annotations

import argparse

from served import bare, latency, question, sensorium, throughput, train, workplace
from timing import ratio, show, take_turns, verdict


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="turns of each")
    options = parser.parse_args()
    with workplace() as folder:
        model = train(folder)
        asked = question(model)
        with bare(model) as theirs, sensorium(model) as ours:
            places = {"sensorium": ours, "bare": theirs}
            one = {name: lambda u=url: 1000 * latency(u, asked, 30) for name, url in places.items()}
            many = {name: lambda u=url: throughput(u, asked, 16, 4) for name, url in places.items()}
            for runs in (one, many):
                take_turns(runs, 1)  # warms up
            waits, rates = take_turns(one, options.repeat), take_turns(many, options.repeat)
    show("one client", waits, "ms")
    show("16 clients", rates, "requests/s")
    print(verdict("latency, sensorium / bare", ratio(waits, "sensorium", "bare"), most=1.3))
    print(verdict("requests/s of 16 clients, sensorium / bare", ratio(rates, "sensorium", "bare"), least=1.1))


if __name__ == "__main__":
    main()
