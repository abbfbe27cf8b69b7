"""The script of `make gpu` itself, on the processor and at a tiny size, in a Python without Ray and MLflow."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tests" / "gpu" / "run.py"
WITHOUT = """
import runpy, sys
sys.modules["ray"] = sys.modules["mlflow"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*options, folder):
    command = [sys.executable, "-c", WITHOUT, str(SCRIPT), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_what_a_gpu_is_asked_runs_on_the_processor_too(tmp_path):
    small = ("--tasks", "clip", "--steps", "4", "--size", "tiny", "--batch", "16", "--repeat", "1")
    done = run("--device", "cpu", *small, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        r"clip: 4 steps, losses within \d\.\d% of the processor's",
        r"clip: killed at step 5 of 8 and resumed: weights differ by 0 at most",
        r"clip: in shards: losses within 0\.\d\d% of those of a whole model",
        r"clip: served: 2 answers equal those of predict",
        r"tiny: ours / open_clip \d\.\d{3} \(0\.01 x 10\^9 operations a sample\)",
        r"photographs of 640 x 480 that one process of 1 threads reads: \d+ a second",
        r"all held\n$",
    ):
        assert re.search(line, done.stdout), (line, done.stdout)


def test_without_a_gpu_it_says_so(tmp_path):
    done = run(folder=tmp_path)
    assert done.returncode == 2
    assert "torch sees no GPU" in done.stdout
