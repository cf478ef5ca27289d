"""The knowledge base of a made-up shop, for the first start."""
