"""Runs on Ray. The only place that imports it."""

import logging

# In a notebook without widgets Ray says so at each turn, as soon as it is imported.
logging.getLogger("ray.widgets").setLevel(logging.ERROR)
