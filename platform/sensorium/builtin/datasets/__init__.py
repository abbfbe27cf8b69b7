"""Datasets that come along."""
