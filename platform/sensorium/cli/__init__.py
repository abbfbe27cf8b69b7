"""The command line: a module for each journey. Heavy modules are imported by the command that needs them.

Imports everything; nothing imports it.
"""
