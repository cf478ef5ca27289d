"""The last defence of the log: what is shaped like personal data or a credential in any value is not written.

Customers' words are not logged in the first place. These are a few cheap forms for what slips through, in a vendor's
message for instance; what a provider's model may see is judged with far more care by :mod:`pipeline.masking`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ragline.errors import safe_text

#: Keys whose values are secrets or a customer's words; a slip is masked instead of written.
_HIDDEN_KEYS = frozenset(
    {"text", "token", "password", "secret", "key", "authorization", "question", "answer", "body"}
    | {"prompt", "content", "caption", "transcript", "query", "email", "phone"}
)
#: Values of these say which row, task, moment or amount is meant, and look like numbers of other things.
_PLAIN_KEYS = frozenset({"id", "ids", "timestamp", "level", "logger", "bot", "bytes", "size"})
#: A Telegram bot token or a bearer key inside any string, e.g. in the text of an HTTP client's exception.
_SECRET_SHAPES = re.compile(
    r"(?<!\d)\d{5,}:[A-Za-z0-9_-]{4,}|(?i:bearer)\s+[\w.~+/=-]{6,}|sk-[\w-]{6,}|(?<=/umnico/)[^/\s]+/[^/\s]+"
)
_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]+@(?:[\w-]+\.)+[^\W\d]{2,}")
_ACCOUNT = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
#: Digits enough for a telephone, a card or a passport: nine.
_NUMBER = re.compile(r"\d(?:[\s()./\u2010-\u2015№-]{0,3}\d){8,}")
#: Ids, moments and fractions look like numbers, and stay.
_STAYS = re.compile(
    r"((?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-])|\d{4}-\d\d-\d\d[T ]\d\d:[\d:.+]*|"
    r"(?<![\w.])\d{1,5}\.\d+(?:e-?\d+)?(?![\w.-]))"
)
#: A whole number of nine digits; a telephone may come as one.
_LONG = 10**8
#: The shortest credential, address or number that is looked for.
_SHORTEST = 6
#: Objects whose text is a value of ours.
_PLAIN = (date, timedelta, Decimal, Enum, PurePath, UUID)


def mask(text: str) -> str:
    """``text`` with everything shaped like a credential replaced by ``***``."""
    # Each shape has one of these in it, and a plain look is a tenth of the cost.
    if ":" in text or "sk-" in text or "/umnico/" in text or "earer" in text.lower():
        return _SECRET_SHAPES.sub("***", text)
    return text


def redact(text: str) -> str:
    """``text`` without credentials, e-mail addresses, and numbers of nine digits and more."""
    if len(text) < _SHORTEST:
        return text
    text = mask(text)
    if "@" in text:
        text = _MAIL.sub("<e-mail>", text)
    if not _NUMBER.search(text) and not _ACCOUNT.search(text):
        return text
    pieces = _STAYS.split(text)
    pieces[::2] = [_NUMBER.sub("<number>", _ACCOUNT.sub("<account>", piece)) for piece in pieces[::2]]
    return "".join(pieces)


def _is_plain(key: str) -> bool:
    return key in _PLAIN_KEYS or key.endswith(("_id", "_ids"))


def redacted(key: str, value: Any) -> Any:
    """What may be written of a value with this name. Objects that are not plain data are written as their text."""
    if key in _HIDDEN_KEYS:
        return "***"
    if isinstance(value, str):
        return mask(value) if _is_plain(key) else redact(value)
    if isinstance(value, int) and abs(value) >= _LONG and not _is_plain(key):
        return "<number>"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): redacted(str(name), one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(key, one) for one in value]
    if isinstance(value, BaseException):
        return redact(safe_text(value))
    return redact(str(value) if isinstance(value, _PLAIN) else repr(value))
