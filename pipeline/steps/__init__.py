"""The steps of an answer: plain functions, collaborators passed in."""
