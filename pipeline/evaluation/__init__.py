"""How well the pipeline answers: labelled questions, their measures, and what a change alters."""
