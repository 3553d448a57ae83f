"""Experiments: run a recipe, evaluate a checkpoint, export, tables of cells, records of what came out, and
what they say.
"""

SCALES = ("smoke", "study", "long", "full")  # of tables, from seconds to the paper's setting
