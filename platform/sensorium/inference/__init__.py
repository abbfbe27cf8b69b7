"""A trained model put to use: predictor, answers in batches without another digit, bulk, index.

Imports assembly, engine and tracking.
"""
