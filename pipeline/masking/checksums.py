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
_IBAN_LENGTHS = dict(
    pair.split(":")
    for pair in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 "
        "DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 "
        "IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 "
        "MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 "
        "SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
    ).split()
)


def iban(value: str) -> bool:
    """ISO 13616: ``value`` without spaces, in capitals."""
    if str(len(value)) != _IBAN_LENGTHS.get(value[:2]) or not value.isascii() or not value.isalnum():
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1
