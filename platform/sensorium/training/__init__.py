"""One run from the command line's point of view: session, execution in one process, its folder on storage, progress.

Imports assembly, engine and tracking; knows nothing of Ray.
"""
