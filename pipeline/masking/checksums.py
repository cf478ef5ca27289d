"""Check digits: which numbers can be what they look like."""

from __future__ import annotations

from collections.abc import Sequence


def luhn(digits: str) -> bool:
    """ISO/IEC 7812: payment cards."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def inn(digits: str) -> bool:
    """A Russian taxpayer's number: 10 digits of a company, 12 of a person."""
    if len(digits) == 10:
        return _weighed(digits, (2, 4, 10, 3, 5, 9, 4, 6, 8)) == digits[9]
    if len(digits) == 12:
        first = _weighed(digits, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8))
        return first == digits[10] and _weighed(digits, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == digits[11]
    return False


def _weighed(digits: str, weights: Sequence[int]) -> str:
    return str(sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False)) % 11 % 10)


def snils(digits: str) -> bool:
    """A Russian pension insurance number, 11 digits; those up to 001-001-998 have no check digits."""
    if len(digits) != 11:
        return False
    if int(digits[:9]) <= 1_001_998:
        return True
    rest = sum(int(digit) * weight for digit, weight in zip(digits[:9], range(9, 0, -1), strict=True)) % 101
    return rest % 100 == int(digits[9:])


#: Length of an IBAN by country, of the registry that SWIFT keeps.
_IBAN_LENGTHS = {
    "NO": 15, "BE": 16, "DK": 18, "FI": 18, "FK": 18, "FO": 18, "GL": 18, "NL": 18, "SD": 18, "MK": 19, "SI": 19,
    "AT": 20, "BA": 20, "EE": 20, "KZ": 20, "LT": 20, "LU": 20, "MN": 20, "XK": 20, "CH": 21, "HR": 21, "LI": 21,
    "LV": 21, "BG": 22, "BH": 22, "CR": 22, "DE": 22, "GB": 22, "GE": 22, "IE": 22, "ME": 22, "RS": 22, "VA": 22,
    "AE": 23, "GI": 23, "IL": 23, "IQ": 23, "OM": 23, "SO": 23, "TL": 23, "AD": 24, "CZ": 24, "ES": 24, "MD": 24,
    "PK": 24, "RO": 24, "SA": 24, "SE": 24, "SK": 24, "TN": 24, "VG": 24, "PT": 25, "ST": 25, "IS": 26, "TR": 26,
    "BI": 27, "DJ": 27, "FR": 27, "GR": 27, "IT": 27, "MC": 27, "MR": 27, "SM": 27, "AL": 28, "AZ": 28, "BY": 28,
    "CY": 28, "DO": 28, "GT": 28, "HN": 28, "HU": 28, "LB": 28, "NI": 28, "PL": 28, "SV": 28, "BR": 29, "EG": 29,
    "PS": 29, "QA": 29, "UA": 29, "JO": 30, "KW": 30, "MU": 30, "YE": 30, "MT": 31, "SC": 31, "LC": 32, "RU": 33,
}  # fmt: skip


def iban(value: str) -> bool:
    """ISO 13616: ``value`` without spaces, in capitals."""
    if len(value) != _IBAN_LENGTHS.get(value[:2]) or not value.isascii() or not value.isalnum():
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1
