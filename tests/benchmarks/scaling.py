"""What efficiency to expect of many GPUs: a model of a step of CLIP, and the table of SCALING.md.

Run `python tests/benchmarks/scaling.py`. Nothing is measured here: a step is put together from counted operations and
bytes and from the assumptions below, each of which an option replaces by what `make gpu` measured on a card.

Shapes: W GPUs, N samples of the global batch, B = N / W of each GPU, D channels of an embedding, P parameters.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields, replace

FLOAT = 4
"""Bytes of a gradient, and of a number of an embedding."""
NODE = 8
"""GPUs of a node."""
GLOBAL_BATCH = 32_768
WORKERS = (8, 16, 32, 64, 128, 256, 512, 1024)
RECOMPUTED = 4 / 3
"""Operations of a step in parts, whose forward pass is done twice, over those of one at once."""


@dataclass(frozen=True)
class Model:
    """A CLIP of Radford et al. 2021, table 20, as open_clip builds it.

    Attributes:
        name: Its image tower.
        parameters: P.
        dim: D.
        operations: Floating-point operations of a sample, forward and backward, as torch's FlopCounterMode counts them.
        kernels: Started in a step, about: 15 for each block forward, twice as many backward.
        fits: Samples that a card of 80 GB takes in one pass in bf16, about.
    """

    name: str
    parameters: int
    dim: int
    operations: float
    kernels: int
    fits: int


MODELS = (
    Model("ViT-B/32", 151_277_313, 512, 44.10e9, 1100, 4096),
    Model("ViT-B/16", 149_620_737, 512, 123.03e9, 1100, 1024),
    Model("ViT-L/14", 427_616_513, 768, 525.67e9, 1650, 384),
)


@dataclass(frozen=True)
class Machine:
    """What is assumed of card, network and reader; an H100 SXM in nodes of 8 with a network card of 400 Gb/s each."""

    peak: float = 989e12
    """Operations a second in bf16, dense, as its makers say."""
    share: float = 0.4
    """Of the peak, reached by the towers."""
    tf32: float = 200e12
    """Operations a second reached by the products of the loss, in tf32."""
    memory: float = 2.5e12
    """Bytes a second that the card reads and writes."""
    start: float = 5e-6
    """Seconds in which the host starts a kernel."""
    bus: float = 300e9
    """Bytes a second of a collective between nodes, for each of its GPUs, as NCCL's tests name it (busbw)."""
    latency: float = 15e-6
    """Seconds of a message between nodes."""
    overlap: float = 0.8
    """Share of the backward pass beside which gradients travel."""
    images: float = 190.0
    """JPEGs of 640 x 480 that a core decodes, crops and resizes to 224 x 224 in a second: 380 on two, measured here."""
    cores: int = 12
    """Cores of a node for each of its GPUs."""


PASSES = 80
"""Bytes read and written for each pair and side by the passes over tiles of InfoNCE: two products, twenty touches."""


@dataclass(frozen=True)
class Step:
    """Seconds of a step.

    Attributes:
        useful: Forward and backward passes, each done once.
        towers: The same with what is computed twice, where B samples do not fit into memory at once.
        starting: The host's, to start the kernels of the towers; the longer of both counts.
        loss: Products and passes over tiles.
        gathering: Embeddings and sums of all workers.
        gradients: What is left of their way when the backward pass is over.
        reading: A batch of B photographs; beside the rest.
    """

    useful: float
    towers: float
    starting: float
    loss: float
    gathering: float
    gradients: float
    reading: float

    @property
    def computing(self) -> float:
        """Seconds where the data are there."""
        return max(self.towers, self.starting) + self.loss + self.gathering + self.gradients

    @property
    def efficiency(self) -> float:
        """Useful share of a step whose data are there."""
        return self.useful / self.computing

    @property
    def read(self) -> float:
        """Useful share of a step that waits for its photographs."""
        return self.useful / max(self.computing, self.reading)


def all_gather(size: float, workers: int, machine: Machine) -> float:
    """Returns seconds in which each worker gets what all have, so many bytes together: a tree's start, a ring's way."""
    return machine.latency * math.log2(workers) + size * (workers - 1) / workers / machine.bus


def all_reduce(size: float, workers: int, machine: Machine) -> float:
    """Returns seconds in which all add up so many bytes: scattered and gathered, each byte travels twice."""
    return 2 * all_gather(size, workers, machine)


def step(model: Model, workers: int, machine: Machine, samples: int = GLOBAL_BATCH) -> Step:
    """Returns the parts of a step."""
    own = samples / workers
    parts = math.ceil(own / model.fits)
    useful = own * model.operations / (machine.peak * machine.share)
    towers = useful * (RECOMPUTED if parts > 1 else 1)
    pairs = 2 * own * samples  # own a with every b, own b with every a
    loss = 3 * 2 * pairs * model.dim / machine.tf32 + PASSES * pairs / machine.memory
    embeddings = 2 * samples * model.dim * FLOAT
    sums = 2 * samples * FLOAT
    gathering = all_gather(embeddings, workers, machine) + all_gather(sums, workers, machine)
    backward = 2 / 3 * towers / parts  # the last part's, beside which gradients travel
    exchanged = all_reduce(model.parameters * FLOAT, workers, machine)
    return Step(
        useful=useful,
        towers=towers,
        starting=parts * model.kernels * machine.start * (RECOMPUTED if parts > 1 else 1),
        loss=loss,
        gathering=gathering,
        gradients=max(0.0, exchanged - machine.overlap * backward),
        reading=own / (machine.images * machine.cores),
    )


def table(machine: Machine) -> str:
    """Returns the table of SCALING.md, in Markdown."""
    lines = [
        "| model | GPUs | samples each | step, ms | towers | starting | loss | gathering | gradients | samples/s"
        " | efficiency | with photographs read |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        for workers in WORKERS:
            found = step(model, workers, machine)
            parts = (found.computing, found.towers, found.starting, found.loss, found.gathering, found.gradients)
            times = " | ".join(f"{1000 * seconds:.1f}" for seconds in parts)
            speed = GLOBAL_BATCH / found.computing
            lines.append(
                f"| {model.name} | {workers} | {GLOBAL_BATCH // workers} | {times} | {speed:,.0f}"
                f" | {found.efficiency:.2f} | {found.read:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for each in fields(Machine):
        parser.add_argument(f"--{each.name}", type=type(each.default), default=each.default)
    given = vars(parser.parse_args())
    print(table(replace(Machine(), **given)))


if __name__ == "__main__":
    main()
