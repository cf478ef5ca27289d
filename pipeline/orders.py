"""Texts that give a machine orders. A passage of the knowledge base that does is shown to no model.

Only well-known forms are recognised, in Russian and English: what keeps an answer honest is the check after the model,
not this. It keeps a planted text from being a source that the check would believe.
"""

from __future__ import annotations

import re

from pipeline.figures import plain

_RULES = r"(?:instruction|rule|prompt|guideline|direction|policy|policies)s?"
_RULES_RU = r"(?:инструкци|правил|указани|промпт|подсказк|установк)\w*"
_MACHINE = r"(?:a\.?i\.?|artificial intelligence|assistant|chat ?bot|bot|(?:large )?language model|llm)s?"
_MACHINE_RU = (
    r"(?:ассистент\w*|бот(?:у|ам|ы|а)?|чат-?бот\w*|нейросет\w*|ии|искусственн\w+ интеллект\w*|языков\w+ модел\w+)"
)
#: What a machine is told to do.
_VERB = r"(?:say|tell|answer|reply|respond|ignore|write|send|add|include|recommend|end)"
_DO = rf"(?:{_VERB}|(?:always|never|please)\s+{_VERB}|from now on|you (?:must|are))"
_DO_RU = (
    r"(?:(?:пожалуйста,?\s+|всегда\s+|никогда не\s+)?(?:скажи|говори|ответь|отвечай|пиши|напиши|"
    r"добавь|добавляй|сообщи|сообщай|игнорируй|забудь)(?:те)?|отныне|теперь ты|ты (?:должен|должна|обязан))"
)
_SHOULD_RU = r"(?:отвечать|ответить|говорить|сказать|писать|написать|отправ\w+|игнорировать|сообщ\w+|дать|добавить)"
_BEFORE = r"(?:above|before|previous(?:ly)?|prior|earlier|so far)"
_BEFORE_RU = r"(?:выше|до этого|ранее|раньше|предыдущ\w+)"
#: The beginning of a sentence that calls somebody.
_CALL = r"(?:^|[.!?\n]\s*)(?:(?:dear|hey|hello|hi|дорог\w+|уважаем\w+|привет|эй),?\s+)?"
#: At most so many characters of the same sentence between two words.
_NEAR, _FAR = r"[^.!?\n]{0,30}", r"[^.!?\n]{0,40}"
_FORMS = (
    rf"\b(?:ignore|disregard|forget|override|bypass)\b{_FAR}\b(?:previous|prior|above|earlier|all|your|these|system)\b"
    rf"{_NEAR}\b{_RULES}\b",
    rf"\b(?:ignore|disregard|forget)\s+(?:everything|anything|all|what(?:ever)?)\b{_NEAR}\b{_BEFORE}\b",
    rf"\b(?:do not|don't|stop|never)\s+(?:follow\w*|obey\w*)\s+(?:your|any|these|previous)\b{_NEAR}\b{_RULES}\b",
    rf"\b(?:reveal|print|show|repeat|output)\b{_NEAR}\b(?:your|system|hidden)\b{_NEAR}\b{_RULES}\b",
    rf"\b(?:note|notice|message|instructions?|attention)\s+(?:to|for)\s+(?:the\s+|an?\s+)?(?:a\.?i\.?\s+)?{_MACHINE}\b",
    rf"\b{_MACHINE}\s+(?:must|shall|should)\s+{_VERB}\b",
    rf"{_CALL}{_MACHINE}\s?[,:!]\s*{_DO}\b",
    rf"\b(?:if you are|as) an?\s+{_MACHINE}\b{_FAR}\b{_DO}\b",
    rf"\bas an?\s+{_MACHINE}\b{_NEAR}\byou\s+(?:must|shall|should)\b",
    rf"\bwhen(?:ever)?\s+you\s+(?:summari[sz]e|read|process|translate)\s+(?:this|the)\s+(?:document|page|passage|text)\b"
    rf"{_NEAR}\b{_DO}\b",
    r"\byou\s+(?:must|shall)\s+(?:always\s+)?(?:tell|inform)\s+(?:the\s+|all\s+|every\s+)?(?:customer|user)s?\b",
    r"\bsystem (?:prompt|override)\b|\bdeveloper message\b|\bnew (?:system )?(?:instructions?|message|prompt)\s*:",
    r"\byou are now\b|\bfrom now on,? you\b",
    r"(?:^|\n)\s*(?:system|assistant)\s*:|<\|?(?:im_start|system)\|?>|\[/?inst\]|<</?sys>>"
    r"|#{2,}\s*(?:instruction|system)s?\s*:",
    rf"\b(?:(?:про)?игнориру\w+|забудь\w*|отбрось\w*|не (?:соблюдай|учитывай|обращай внимания на))"
    rf"{_FAR}\b{_RULES_RU}",
    rf"\bне (?:следуй|выполняй|соблюдай)(?:те)?\s+(?:\w+\s+){{0,2}}{_RULES_RU}",
    rf"\b(?:(?:про)?игнориру\w+|забудь\w*|отбрось\w*)\s+вс[её]\b{_NEAR}\b{_BEFORE_RU}\b",
    rf"\b(?:покажи|выведи|раскрой|повтори)\w*\b{_NEAR}\b(?:сво\w+|системн\w+)\s+{_RULES_RU}",
    rf"\b(?:указание|внимание|сообщение|инструкция)\s+(?:для\s+)?{_MACHINE_RU}\b",
    rf"\b{_MACHINE_RU}\b{_NEAR}\b(?:должен|должна|обязан\w*)\s+{_SHOULD_RU}\b",
    rf"{_CALL}{_MACHINE_RU}\s?[,:!]\s*{_DO_RU}\b",
    rf"\bесли (?:ты|вы)\b[\s—-]{{0,3}}{_MACHINE_RU}(?![\w-])",
    r"\bсистемн\w+ (?:промпт|подсказк|инструкци)\w*",
    r"\b(?:отныне|теперь|с этого момента|с этой минуты) ты\b|\bты теперь\b",
)
_ORDERS = re.compile("|".join(_FORMS), re.IGNORECASE)


def gives_orders(text: str) -> bool:
    """Whether a text tells a machine what to do, in a form that is known."""
    return _ORDERS.search(plain(text)) is not None
