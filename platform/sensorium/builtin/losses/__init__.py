"""Losses that come along."""
