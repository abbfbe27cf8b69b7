"""Models with random weights, as open_clip and transformers themselves write them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SEEN = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
MODELS: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 24, "vision_cfg": SEEN, "text_cfg": TEXT},
    "openai": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": {**SEEN, "patch_size": 16}, "text_cfg": TEXT},
    "resnet": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
}
"""Name -> what stands in open_clip's own `model_configs` for a model of this size."""


@dataclass
class Written:
    """A folder as it lies on the Hub, with the model that open_clip reads from it.

    Attributes:
        folder: Weights, configuration and tokenizer.
        model: In evaluation mode.
        transform: From a Pillow image to what the model sees.
    """

    folder: Path
    model: Any
    transform: Any


@pytest.fixture(scope="session")
def hugging_face_tokenizer() -> Any:
    """transformers' tokenizer of CLIP, from the vocabulary in open_clip's package."""
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    known = SimpleTokenizer()
    ids = {name.replace("<start_of_text>", "<|startoftext|>"): number for name, number in known.encoder.items()}
    ids = {name.replace("<end_of_text>", "<|endoftext|>"): number for name, number in ids.items()}
    return CLIPTokenizer(vocab=ids, merges=list(known.bpe_ranks))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, hugging_face_tokenizer: Any) -> dict[str, Written]:
    """Name -> what open_clip wrote of a small model with random weights."""
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    found = {}
    for name, config in MODELS.items():
        place = tmp_path_factory.mktemp(name)
        (place / f"tiny-{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(place / f"tiny-{name}.json")
        torch.manual_seed(0)
        model = open_clip.create_model(f"tiny-{name}")
        model.visual.image_mean, model.visual.image_std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
        with torch.no_grad():  # nothing is left at its start, where it would be right without being read
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
            model.train()
            for _ in range(20 if name == "resnet" else 0):  # whose running statistics move
                model.encode_image(torch.randn(8, 3, 64, 64))
            model.logit_scale.fill_(3.2)
        save_for_hf(model, hugging_face_tokenizer, config, place / "hub", safe_serialization=True)
        model, transform = open_clip.create_model_from_pretrained(f"local-dir:{place / 'hub'}")
        found[name] = Written(place / "hub", model.eval(), transform)
    return found
