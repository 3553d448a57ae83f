"""Experiments: run a recipe, evaluate a checkpoint, export, tables of cells, records of what came out, and what they say."""
