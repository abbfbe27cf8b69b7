"""What is to be run where a GPU is: `make gpu`, or `python tests/gpu/run.py`, in about ten minutes.

In any Python with torch; neither Ray nor MLflow is needed, and open_clip for the comparison alone:

    pip install --no-deps -e .
    pip install pluggy pydantic pyyaml fsspec safetensors numpy pillow scipy scikit-learn tokenizers tqdm \\
        soundfile torchvision torchaudio av matplotlib fastapi python-multipart prometheus-client open_clip_torch

Every task takes 20 steps in bf16, and its losses are compared with the processor's; one is killed and resumed, cut
into shards, and served; CLIP ViT-B/16 is trained in turns by Sensorium and as open_clip does it; photographs are read.
What does not hold is printed, and the exit status is 1. `--device cpu --size tiny` tries the script itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tasks"), str(HERE.parent / "benchmarks")]

import torch  # noqa: E402 (what lies beside this file is found first)


def main() -> int:
    """Runs all parts; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    parser.add_argument("--tasks", nargs="*", help="these alone")
    parser.add_argument("--steps", type=int, default=20, help="of each task")
    parser.add_argument("--size", default="ViT-B-16", choices=("ViT-B-16", "tiny"), help="of CLIP")
    parser.add_argument("--batch", type=int, default=256, help="samples of a step of CLIP")
    parser.add_argument("--repeat", type=int, default=3, help="turns of the comparison")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU; --device cpu --size tiny tries the script without one.")
        return 2

    import held
    import speeds
    from shared_cores import photographs
    from shortened import tasks

    device = torch.device(options.device)
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"torch {torch.__version__}, {card}, {os.cpu_count()} cores", flush=True)
    failed = []

    def part(name: str, run: Callable[[], str]) -> None:
        began = time.perf_counter()
        try:
            told = run()
        except Exception as error:  # noqa: BLE001 (one that fails keeps none of the others from being tried)
            failed.append(name)
            told = f"FAILED: {type(error).__name__}: {error}"
            traceback.print_exc()
        print(f"{name}: {told} ({time.perf_counter() - began:.0f} s)", flush=True)

    def comparison() -> str:
        try:
            import open_clip  # noqa: F401
        except ImportError:
            return "left out: open_clip is not installed"
        steps = 30 if device.type == "cuda" else speeds.WARM + 3
        return "\n  ".join(["", *speeds.compared(options.size, options.batch, steps, options.repeat, device)])

    for task in options.tasks or tasks():
        part(task, lambda task=task: held.learns(task, device, options.steps))  # type: ignore[misc]
    part("clip", lambda: held.resumes("clip", device))
    part("clip", lambda: held.shards("clip", device))
    part("clip", lambda: held.serves("clip"))
    part("CLIP", comparison)
    for threads in sorted({1, 4, os.cpu_count() or 1}):
        speed = speeds.reading(photographs(), threads, 5.0 if device.type == "cuda" else 0.5)
        print(f"photographs of 640 x 480 that one process of {threads} threads reads: {speed:.0f} a second", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all held")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
