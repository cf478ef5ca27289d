"""Templates of what is said to the model and to the customer. Read through ``pipeline.prompts``."""
