"""CLIP on scikit-learn's digits by two workers of Ray Train, as its documentation shows it.

Run with the path of a file, into which the moment of the first step is written.
"""

import sys
import tempfile
import time
from pathlib import Path

import ray.train
import ray.train.torch
import torch
from clip_bare import BATCH, Clip, data
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch.utils.data import DataLoader


def work(config: dict[str, str]) -> None:
    torch.manual_seed(0)
    dataset, vocabulary = data()
    model = ray.train.torch.prepare_model(Clip(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    workers = ray.train.get_context().get_world_size()
    loader = ray.train.torch.prepare_data_loader(DataLoader(dataset, BATCH // workers, shuffle=True, drop_last=True))
    for number, (images, tokens) in enumerate(loader):
        model(images, tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
        if number == 0 and ray.train.get_context().get_world_rank() == 0:
            Path(config["first"]).write_text(str(time.time()), encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            work,
            train_loop_config={"first": sys.argv[1]},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=folder, name="bench"),
        )
        trainer.fit()


if __name__ == "__main__":
    main()
