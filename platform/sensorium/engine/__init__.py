"""Trains a task: exact, resumable, on any number of workers. Knows neither Ray nor MLflow."""
