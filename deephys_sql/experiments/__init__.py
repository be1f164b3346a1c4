"""Runs of experiments from tracking databases, tables of runs and Hydra folders, beside the models that they made."""
