"""The parts that come along, registered through the hooks that every plugin uses."""

from __future__ import annotations

from sensorium.hookspecs import hookimpl

HERE = "sensorium.builtin"


@hookimpl
def sensorium_modalities() -> dict[str, str]:
    """Pictures, words, sound, depth, temperature, series, classes, tags, numbers and vectors."""
    return {
        "image": f"{HERE}.modalities.image:Image",
        "text": f"{HERE}.modalities.text:Text",
        "audio": f"{HERE}.modalities.audio:Audio",
        "video": f"{HERE}.modalities.video:Video",
        "label": f"{HERE}.modalities.label:Label",
        "tags": f"{HERE}.modalities.tags:Tags",
        "number": f"{HERE}.modalities.number:Number",
        "vector": f"{HERE}.modalities.vector:Vector",
        "boxes": f"{HERE}.modalities.boxes:Boxes",
        "depth": f"{HERE}.modalities.measured:Depth",
        "thermal": f"{HERE}.modalities.measured:Thermal",
        "series": f"{HERE}.modalities.series:Series",
        "heatmaps": f"{HERE}.modalities.heatmaps:Heatmaps",
    }


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """Networks from one modality to Features."""
    return {
        "torchvision": f"{HERE}.encoders.torchvision:Backbone",
        "timm": f"{HERE}.encoders.timm:Timm",
        "transformers_text": f"{HERE}.encoders.transformers:Text",
        "transformers_image": f"{HERE}.encoders.transformers:Image",
        "transformers_audio": f"{HERE}.encoders.transformers_audio:Audio",
        "convnet": f"{HERE}.encoders.convnet:ConvNet",
        "vit": f"{HERE}.encoders.vit:ViT",
        "frames": f"{HERE}.encoders.frames:Frames",
        "text_transformer": f"{HERE}.encoders.text_transformer:TextTransformer",
        "rnn": f"{HERE}.encoders.rnn:RNN",
        "identity": f"{HERE}.encoders.identity:Identity",
        "mlp": f"{HERE}.encoders.mlp:MLP",
    }


@hookimpl
def sensorium_fusions() -> dict[str, str]:
    """Ways to join the features of several fields."""
    return {
        "projection": f"{HERE}.fusions:Projection",
        "concatenation": f"{HERE}.fusions:Concatenation",
        "product": f"{HERE}.fusions:Product",
        "sum": f"{HERE}.fusions:Sum",
        "bilinear": f"{HERE}.fusions:Bilinear",
        "normalised": f"{HERE}.fusions:Normalised",
        "gated": f"{HERE}.fusions:Gated",
        "film": f"{HERE}.fusions:FiLM",
    }


@hookimpl
def sensorium_decoders() -> dict[str, str]:
    """Networks from Features to words."""
    return {
        "lstm": f"{HERE}.decoders.lstm:LSTM",
        "attention_lstm": f"{HERE}.decoders.attention_lstm:AttentionLSTM",
    }


@hookimpl
def sensorium_losses() -> dict[str, str]:
    """Losses over pairs, which see the whole global batch, and over classes."""
    return {
        "infonce": f"{HERE}.losses.infonce:InfoNCE",
        "siglip": f"{HERE}.losses.siglip:SigLIP",
        "triplet": f"{HERE}.losses.triplet:Triplet",
        "cross_entropy": f"{HERE}.losses.cross_entropy:CrossEntropy",
        "kl_divergence": f"{HERE}.losses.kl_divergence:KLDivergence",
        "si_sdr": f"{HERE}.losses.si_sdr:SISDR",
        "binary_cross_entropy": f"{HERE}.losses.binary_cross_entropy:BinaryCrossEntropy",
    }


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of well-known layouts, and real digits that need no download."""
    return {
        "digits": f"{HERE}.datasets.digits:Digits",
        "mnist": f"{HERE}.datasets.mnist:MNIST",
        "coco_captions": f"{HERE}.datasets.coco:CocoCaptions",
        "flickr": f"{HERE}.datasets.flickr:Flickr",
        "manifest": f"{HERE}.datasets.manifest:Manifest",
        "parquet": f"{HERE}.datasets.parquet:Parquet",
        "webdataset": f"{HERE}.datasets.webdataset:WebDataset",
        "esc50": f"{HERE}.datasets.esc50:ESC50",
        "fsdd": f"{HERE}.datasets.fsdd:FSDD",
        "easy_vqa": f"{HERE}.datasets.easy_vqa:EasyVQA",
        "vqa_v2": f"{HERE}.datasets.vqa_v2:VQAv2",
        "union": f"{HERE}.datasets.union:Union",
        "coco_karpathy": f"{HERE}.datasets.karpathy:CocoKarpathy",
        "clotho": f"{HERE}.datasets.sound_captions:Clotho",
        "audiocaps": f"{HERE}.datasets.sound_captions:AudioCaps",
    }


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """Metrics over a whole split."""
    return {
        "retrieval": f"{HERE}.metrics.retrieval:Retrieval",
        "accuracy": f"{HERE}.metrics.classification:Accuracy",
        "average_precision": f"{HERE}.metrics.classification:AveragePrecision",
        "captions": f"{HERE}.metrics.captions:Captions",
        "diversity": f"{HERE}.metrics.diversity:Diversity",
        "answers": f"{HERE}.metrics.answers:Answers",
    }
