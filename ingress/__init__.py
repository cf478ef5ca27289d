"""Ways in. Thin: verify, normalise, accept. No model, no vector store, no language model."""
