"""Sensorium for whoever calls it, a command or a notebook: train, load, evaluate and tune, and how results are told."""

import warnings

# In a notebook without widgets tqdm complains when libraries import it, whose bars are off.
warnings.filterwarnings("ignore", "IProgress not found")
