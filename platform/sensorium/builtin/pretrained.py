"""Models as Hugging Face's libraries store them: a folder of `save_pretrained`, or a name that is downloaded.

JSON and safetensors alone are read; a folder's own Python is never run, and pickled weights are not opened.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from sensorium import UserError, expanded
from sensorium.builtin.libraries import installed

SMALL = ("*.json", "*.txt", "*.model", "README.md")
"""Files of a name's folder that say what a model is, and how its tokenizer cuts."""
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json")
NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
CARD, TOKENIZER = "README.md", "tokenizer.json"


def folder(source: str, files: tuple[str, ...] = SMALL) -> Path:
    """Returns the local folder of a model, which is downloaded if it is the name of one on the Hugging Face Hub.

    Args:
        source: A folder, or a name such as `google-bert/bert-base-uncased`.
        files: Patterns of the files that are needed; others are not downloaded.

    Raises:
        UserError: There is no such folder, or the name cannot be fetched.
    """
    place = Path(expanded(source))
    if place.is_dir():
        return place
    if place.exists() or not NAME.fullmatch(source):
        raise UserError(
            f"There is no model at {source}.",
            "A folder as `save_pretrained` writes it, or a name of the Hugging Face Hub, was expected.",
            "Correct the path.",
        )
    try:
        return _downloaded(source, files)
    except Exception as cause:  # whatever the Hub's client raises without a network
        raise UserError(
            f"{source!r} is not a folder, and cannot be fetched from the Hugging Face Hub: {type(cause).__name__}: "
            f"{str(cause).splitlines()[0][:200] if str(cause) else ''}.",
            hint="Check name and network, or give a folder as `save_pretrained` writes it.",
        ) from cause


@lru_cache(maxsize=64)
def _downloaded(name: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=list(files)))


def document(place: Path, name: str) -> dict[str, Any]:
    """Returns what a JSON file of a folder holds; nothing where there is none.

    Raises:
        UserError: It is not a JSON object.
    """
    try:
        found = json.loads((place / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError, RecursionError) as cause:
        raise UserError(f"{place / name} cannot be read: {cause}.", "", "Fetch or write the folder again.") from cause
    if not isinstance(found, dict):
        raise UserError(f"{place / name} holds a {type(found).__name__}.", "A JSON object was expected.")
    return found


def processor(place: Path) -> dict[str, Any]:
    """Returns what the folder's processor says of pictures and sounds: size, mean, deviation, sampling rate."""
    both = document(place, "processor_config.json")
    inner = {**(both.get("image_processor") or {}), **(both.get("feature_extractor") or {})}
    return {**inner, **document(place, "preprocessor_config.json")}


def tensors(source: str) -> set[str]:
    """Returns the names of all tensors of a model's weights.

    Raises:
        UserError: There are no weights as safetensors.
    """
    from safetensors import SafetensorError, safe_open

    place = folder(source, (*SMALL, *WEIGHTS))
    files = sorted(place.glob(WEIGHTS[0]))
    if not files:
        raise UserError(
            f"{source} holds no weights as safetensors.",
            f"model.safetensors, or pieces of it, were expected; there are {', '.join(sorted(_names(place))[:9])}.",
            "Convert them with `save_pretrained` of transformers; pickled weights are not opened.",
        )
    held: set[str] = set()
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                held.update(file.keys())
        except SafetensorError as cause:
            raise UserError(f"{path} is not a safetensors file: {cause}.", "", "Fetch it again.") from cause
    return held


def _names(place: Path) -> list[str]:
    return [path.name for path in place.iterdir()]


def tokenizer(source: str) -> dict[str, Any]:
    """Returns a model's tokenizer as plain data: its JSON, the id that pads, and whether signs in a text are text.

    Raises:
        UserError: There is none.
    """
    place = folder(source)
    told = {**document(place, "special_tokens_map.json"), **document(place, "tokenizer_config.json")}
    if (place / TOKENIZER).is_file():
        text = (place / TOKENIZER).read_text(encoding="utf-8")
    else:
        text = _converted(place, source)
    pad = told.get("pad_token")
    return {
        "tokenizer": text,
        "pad": pad.get("content") if isinstance(pad, dict) else pad,
        "split_special_tokens": bool(told.get("split_special_tokens", False)),
        "truncation_side": told.get("truncation_side", "right"),
    }


def _converted(place: Path, source: str) -> str:
    """Returns the JSON of a tokenizer that is stored in another form, as transformers reads it."""
    try:
        options = {"trust_remote_code": False, "local_files_only": True}
        made = installed("transformers", "hf").AutoTokenizer.from_pretrained(place, **options)
        if len(set(made.get_vocab()) - set(made.all_special_tokens)) < 2:  # transformers makes one of no files at all
            raise ValueError("its vocabulary is empty")
        text: str = made.backend_tokenizer.to_str()
    except UserError:
        raise
    except Exception as cause:  # a dozen kinds, by which file is missing
        raise UserError(
            f"{source} has no tokenizer that can be read: {type(cause).__name__}: {str(cause)[:200]}.",
            f"{TOKENIZER} was expected, or what transformers makes one of.",
            "Write it with `save_pretrained` of a fast tokenizer.",
        ) from cause
    return text


def most_tokens(place: Path) -> int | None:
    """Returns how many tokens of a text the folder's tokenizer keeps; None where it does not say."""
    most = document(place, "tokenizer_config.json").get("model_max_length")
    return int(most) if isinstance(most, (int, float)) and 0 < most < 1 << 30 else None


def licence(source: str) -> str:
    """Returns the licence that the card of a local or downloaded model names; empty where it names none."""
    card = Path(expanded(source))
    card = (card if card.is_dir() else folder(source)) / CARD
    if not card.is_file():
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    named = re.search(r"^license:\s*(.+?)\s*$", front[1], re.MULTILINE) if front else None
    return named[1].strip("'\"") if named else ""
