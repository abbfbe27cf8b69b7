"""Metrics over a whole split; each module says which rows it reads."""
