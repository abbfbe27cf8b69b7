"""Encoders that come along."""
