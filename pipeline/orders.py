"""Texts that give a machine orders. A passage of the knowledge base that does is shown to no model.

Only well-known forms are recognised, in Russian and English: what keeps an answer honest is the check after the model,
not this. It keeps a planted text from being a source that the check would believe.
"""

from __future__ import annotations

import re

from pipeline.figures import plain

_RULES = r"(?:instruction|rule|prompt|guideline|direction|policy|policies)s?"
_RULES_RU = r"(?:инструкци|правил|указани|промпт|подсказк|установк)\w*"
_MACHINE = r"(?:a\.?i\.?|assistant|chat ?bot|bot|language model|llm)s?"
_MACHINE_RU = r"(?:ассистент\w*|бот(?:у|ам|ы)?|чат-?бот\w*|нейросет\w*|ии|языков\w+ модел\w+)"
#: At most so many characters of the same sentence between two words.
_NEAR, _FAR = r"[^.!?\n]{0,30}", r"[^.!?\n]{0,40}"
_FORMS = (
    rf"\b(?:ignore|disregard|forget|override|bypass)\b{_FAR}\b(?:previous|prior|above|earlier|all|your|these|system)\b"
    rf"{_NEAR}\b{_RULES}\b",
    rf"\b(?:reveal|print|show|repeat|output)\b{_NEAR}\b(?:your|system|hidden)\b{_NEAR}\b{_RULES}\b",
    rf"\b(?:note|notice|message|instructions?|attention)\s+(?:to|for)\s+(?:the\s+|an?\s+)?(?:a\.?i\.?\s+)?{_MACHINE}\b",
    rf"\b{_MACHINE}\s+(?:must|shall|should)\s+(?:say|tell|answer|reply|ignore|write|send)\b",
    r"\bsystem prompt\b",
    r"\byou are now\b",
    r"(?:^|\n)\s*(?:system|assistant)\s*:|<\|?(?:im_start|system)\|?>",
    rf"\b(?:игнориру\w+|забудь\w*|отбрось\w*|не (?:соблюдай|учитывай|обращай внимания на))\b{_FAR}\b{_RULES_RU}",
    rf"\b(?:покажи|выведи|раскрой|повтори)\w*\b{_NEAR}\b(?:сво\w+|системн\w+)\s+{_RULES_RU}",
    rf"\b(?:указание|внимание|сообщение|инструкция)\s+(?:для\s+)?{_MACHINE_RU}\b",
    rf"\b{_MACHINE_RU}\s+(?:должен|должна|обязан\w*)\s+(?:отвечать|говорить|сказать|писать|отправлять|игнорировать)\b",
    r"\bсистемн\w+ (?:промпт|подсказк|инструкци)\w*",
    r"\b(?:отныне|теперь) ты\b",
)
_ORDERS = re.compile("|".join(_FORMS), re.IGNORECASE)


def gives_orders(text: str) -> bool:
    """Whether a text tells a machine what to do, in a form that is known."""
    return _ORDERS.search(plain(text)) is not None
