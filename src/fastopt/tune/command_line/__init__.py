"""``python -m fastopt``: what is in studies' files, without a program.

``main`` reads the arguments and does the commands, ``text`` is what they print.
"""
