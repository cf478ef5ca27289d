"""Personal data: recognised in what customers write, kept from providers' models, put back into the answers."""

from __future__ import annotations

from pipeline.masking.model import MaskingModel, masked

__all__ = ["MaskingModel", "masked"]
