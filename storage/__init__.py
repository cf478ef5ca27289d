"""SQL is the truth; vectors are derived and can be rebuilt."""
