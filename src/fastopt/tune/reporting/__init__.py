"""What a study shows: pictures, a page, a table, the importance of its parameters.

Nothing here knows a study. Each takes the trials and what else it needs.
"""
