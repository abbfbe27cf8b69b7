"""Runs on Ray. The only place that imports it."""
