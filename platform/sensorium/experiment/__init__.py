"""The experiment file: options, parsing, overrides, the YAML dialect, JSON Schema, the space of a search.

Reads files and asks nobody. Imports contracts, the engine's settings and plugins.
"""
