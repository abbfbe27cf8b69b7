"""A search from the command line's point of view: session, trials, record, plots.

Imports training; knows nothing of Ray.
"""
