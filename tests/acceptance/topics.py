"""Twenty questions as far apart as questions can be: an answer tells which one it answers."""

from __future__ import annotations

import json
from pathlib import Path

QUESTIONS = (
    "How long does delivery take?",
    "Can I pay with a gift card?",
    "Where do I find my invoice?",
    "How do I reset my password?",
    "Do you repair broken kettles?",
    "Is the shop open on Sunday?",
    "How can I become a supplier?",
    "What is the warranty on fridges?",
    "Do you sell vegan chocolate?",
    "How do I unsubscribe from the newsletter?",
    "Are pets allowed in the store?",
    "Which planet is on your logo?",
    "Can I change the colour of my sofa?",
    "How heavy is the lawn mower?",
    "Who wrote the cookbook?",
    "Does the jacket keep rain out?",
    "When does the train museum tour start?",
    "What language do your guides speak?",
    "How many lamps fit in a box?",
    "Is there parking for bicycles?",
)


def answer(number: int) -> str:
    """The answer to ``QUESTIONS[number]``."""
    return f"Answer number {number:02d}."


def write_base(path: Path) -> Path:
    """The knowledge base as a file to import."""
    rows = [
        {"id": f"topic-{number:02d}", "questions": [question], "answer": answer(number), "locale": "en"}
        for number, question in enumerate(QUESTIONS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
