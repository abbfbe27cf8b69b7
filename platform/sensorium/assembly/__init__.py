"""An experiment made into data, a model and what they start from: splits, checks, pretrained weights.

Imports experiment, engine and, for trained models by their URI, tracking.
"""
