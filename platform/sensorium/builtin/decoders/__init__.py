"""Networks from features to an output modality."""
