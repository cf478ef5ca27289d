"""Ragline: one answering engine for every channel a company's customers write to."""

__version__ = "0.1.0"
