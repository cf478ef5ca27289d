"""Scripted faults, shared by every fake server.

A `Fault` says what goes wrong; a `FaultPlan` says when. `after=True` always means: the request took its
effect first (the message was shown, the tokens were spent) and only then the answer went wrong. That is the
ambiguous case a sender has to survive; `after=False` means nothing happened on the far side.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Kind = Literal["status", "hang", "reset", "slow", "cut", "broken"]
KINDS: tuple[Kind, ...] = ("status", "hang", "reset", "slow", "cut", "broken")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request. Made by the functions below; `seconds` are seconds."""

    kind: Kind
    after: bool = False
    status: int = 500
    description: str | None = None
    body: str | dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    shape: str = "json"
    chunks: int = 3


def status(
    code: int,
    description: str | None = None,
    *,
    body: str | dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    retry_after: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    after: bool = False,
) -> Fault:
    """An HTTP error in the vendor's own form, or `body` as it stands (a dict as JSON, else text or HTML).

    `parameters` are the vendor's extras: Telegram's `parameters` object, members of OpenAI's `error` object.
    """
    return Fault(
        "status",
        after=after,
        status=code,
        description=description,
        body=body,
        headers=dict(headers or {}),
        retry_after=retry_after,
        parameters=dict(parameters or {}),
    )


def too_many(retry_after: float = 1) -> Fault:
    """429 with the vendor's retry_after and the `Retry-After` header."""
    return status(429, retry_after=retry_after)


def html(code: int = 502, *, after: bool = False) -> Fault:
    """A gateway's HTML error page instead of JSON."""
    return status(code, body=f"<html><body><h1>{code} Bad Gateway</h1></body></html>", after=after)


def hang(seconds: float, *, after: bool = False) -> Fault:
    """No answer for `seconds`, then the connection is closed without one."""
    return Fault("hang", after=after, seconds=seconds)


def reset(*, after: bool = True) -> Fault:
    """The connection is reset without a byte of answer; by default once the request took its effect."""
    return Fault("reset", after=after)


def slow(seconds: float) -> Fault:
    """Everything works, `seconds` later."""
    return Fault("slow", seconds=seconds)


def cut(chunks: int = 3, *, properly: bool = False) -> Fault:
    """The effect happens and the answer begins, then the connection closes: half of a plain body, or `chunks`
    parts of a stream. `properly`: the stream ends as HTTP wants it, as behind a proxy that lost its server."""
    return Fault("cut", after=True, chunks=chunks, shape="end" if properly else "json")


def broken(shape: str = "json", *, after: bool = True) -> Fault:
    """Status 200 with a useless body: `json` (cut short), `html`, `empty`, or a shape the server at hand
    knows (`result` for Telegram; `choices`, `content` for OpenAI)."""
    return Fault("broken", after=after, shape=shape)


def fault_from_json(data: Mapping[str, Any]) -> Fault:
    """A fault from JSON, as `{"kind": "status", "status": 429, "retry_after": 7}`; ValueError if unknown."""
    known = {item.name for item in fields(Fault)}
    unknown = sorted(set(data) - known)
    if unknown or data.get("kind") not in KINDS:
        raise ValueError(f"unknown fault: kinds are {', '.join(KINDS)}; unknown keys {unknown} in {dict(data)}")
    values = dict(data)
    values.setdefault("after", values["kind"] in ("reset", "cut", "broken"))
    return Fault(**values)


@dataclass(slots=True)
class _Rule:
    faults: tuple[Fault, ...]
    method: str | None
    chat: str | None
    skip: int = 0
    left: int | None = 1
    rate: float | None = None
    dice: random.Random | None = None

    def fits(self, method: str, chat: str | None) -> bool:
        return self.method in (None, method.lower()) and self.chat in (None, chat)


@dataclass(frozen=True, slots=True)
class Fired:
    """A fault that was served: to which method and chat, when (Unix time)."""

    fault: Fault
    method: str
    chat: str | None
    at: float


class FaultPlan:
    """Which requests go wrong, and how. Thread-safe; rules are tried in the order they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self.fired: list[Fired] = []

    def add(
        self,
        fault: Fault,
        method: str | None = None,
        *,
        chat: object = None,
        times: int | None = 1,
        skip: int = 0,
    ) -> None:
        """The next `times` fitting requests get `fault` (None: until cleared), after `skip` that pass.

        `method` is the server's name for a call (case is ignored); `chat` the chat, lead or model.
        """
        chat_key = None if chat is None else str(chat)
        rule = _Rule((fault,), method.lower() if method else None, chat_key, skip=skip, left=times)
        with self._lock:
            self._rules.append(rule)

    def chaos(
        self,
        faults: Sequence[Fault],
        *,
        rate: float,
        seed: int,
        method: str | None = None,
        chat: object = None,
    ) -> None:
        """Each fitting request gets one of `faults` with probability `rate`, until cleared.

        The same seed gives the same decisions for the same sequence of fitting requests.
        """
        if not faults or not 0 <= rate <= 1:
            raise ValueError("chaos needs at least one fault and a rate between 0 and 1")
        rule = _Rule(tuple(faults), method.lower() if method else None, None if chat is None else str(chat))
        rule.left, rule.rate, rule.dice = None, rate, random.Random(seed)
        with self._lock:
            self._rules.append(rule)

    def take(self, method: str, chat: object = None) -> Fault | None:
        """The fault for this request, if any; counts it."""
        chat_key = None if chat is None else str(chat)
        with self._lock:
            for rule in self._rules:
                if not rule.fits(method, chat_key):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                fault = rule.faults[0]
                if rule.dice is not None and rule.rate is not None:
                    if rule.dice.random() >= rule.rate:
                        continue
                    fault = rule.dice.choice(rule.faults)
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left <= 0:
                        self._rules.remove(rule)
                self.fired.append(Fired(fault, method, chat_key, time.time()))
                return fault
        return None

    def clear(self) -> None:
        """No more faults; what was fired stays recorded."""
        with self._lock:
            self._rules.clear()

    def pending(self) -> list[dict[str, Any]]:
        """The rules still in force, as JSON."""
        with self._lock:
            return [
                {
                    "faults": [asdict(fault) for fault in rule.faults],
                    "method": rule.method,
                    "chat": rule.chat,
                    "times": rule.left,
                    "skip": rule.skip,
                    "rate": rule.rate,
                }
                for rule in self._rules
            ]

    def add_json(self, data: Mapping[str, Any]) -> None:
        """A rule from JSON: a fault's own keys beside `method`, `chat`, `times`, `skip`; or, for chaos,
        `{"faults": [...], "rate": 0.1, "seed": 7, "method": ..., "chat": ...}`. ValueError if unknown."""
        rest = dict(data)
        method, chat = rest.pop("method", None), rest.pop("chat", None)
        if "rate" in rest:
            rate, seed = float(rest.pop("rate")), int(rest.pop("seed", 0))
            faults = [fault_from_json(item) for item in rest.pop("faults", [])]
            if rest:
                raise ValueError(f"unknown keys {sorted(rest)}")
            self.chaos(faults, rate=rate, seed=seed, method=method, chat=chat)
            return
        times, skip = rest.pop("times", 1), rest.pop("skip", 0)
        self.add(fault_from_json(rest), method, chat=chat, times=times, skip=skip)
