"""Kinds of data that come along."""
