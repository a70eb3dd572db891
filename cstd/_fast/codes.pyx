"""Enums used on both sides of the compiled border: one definition gives C constants and a Python IntEnum.

Values are journaled, so a number once given keeps its meaning.
"""
