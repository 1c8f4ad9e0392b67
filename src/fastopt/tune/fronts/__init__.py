"""Several objectives: which trials no other beats, and how much space they dominate.

All objectives are to be minimised here; an array of them has one row for each point. Nothing here
knows trials, spaces or strategies.
"""
