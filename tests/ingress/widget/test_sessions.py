"""Tokens, rates and origins."""

from __future__ import annotations

import re

import pytest
from fastapi import Request

from ingress.channels.widget.sessions import OpenStreams, Origins, RateLimit, address_of, conversation_key, new_token
from ragline.channels import WidgetAccount


def request(client="203.0.113.7", **headers):
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw, "client": (client, 1), "path": "/"})


def test_a_token_is_256_bits_and_its_conversation_does_not_tell_it():
    token = new_token()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert token != new_token()
    key = conversation_key(token)
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    assert key == conversation_key(token)


@pytest.mark.parametrize("token", [None, "", "x", "x" * 42, "x" * 44, "x" * 42 + " ", "я" * 43, "x" * 42 + "\n"])
def test_what_is_no_token_opens_nothing(token):
    assert conversation_key(token) is None


def test_a_rate_admits_a_burst_then_one_at_a_time():
    now = [100.0]
    rate = RateLimit(3, 60, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(3)] == [0, 0, 0]
    assert rate.wait("a") == pytest.approx(20)
    assert rate.wait("b") == 0
    now[0] += 20
    assert rate.wait("a") == 0
    assert rate.wait("a") == pytest.approx(20)
    now[0] += 1000
    assert [rate.wait("a") for _ in range(3)] == [0, 0, 0]
    assert rate.wait("a") > 0


def test_a_rate_remembers_a_bounded_number_of_keys():
    rate = RateLimit(1, 60)
    for number in range(RateLimit.KEYS + 10):
        rate.wait(str(number))
    assert len(rate._whole_at) == RateLimit.KEYS
    assert rate.wait(str(RateLimit.KEYS)) > 0


def test_streams_are_counted_for_one_address_and_in_all():
    streams = OpenStreams(per_address=2, total=3)
    assert [streams.open("a") for _ in range(3)] == [None, None, "crowded"]
    assert [streams.open("b") for _ in range(2)] == [None, "full"]
    streams.close("a")
    assert streams.open("b") is None
    for address in ("a", "b", "b"):
        streams.close(address)
    assert not streams._open


def test_an_ipv6_customer_is_one_address():
    assert address_of(request("2001:db8:1:2::1")) == address_of(request("2001:db8:1:2:ffff::9"))
    assert address_of(request("2001:db8:1:2::1")) != address_of(request("2001:db8:1:3::1"))
    assert address_of(request("203.0.113.7")) == "203.0.113.7"


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (None, True),
        ("https://shop.example", True),
        ("https://SHOP.example", True),
        ("https://other.example", True),
        ("https://chat.example", True),
        ("http://own.example:8080", True),
        ("https://own.example", False),
        ("http://shop.example", False),
        ("https://shop.example.evil", False),
        ("https://shop.example:444", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins(origin, admitted):
    account = WidgetAccount(origins=["https://shop.example", "https://other.example/"])
    headers = {"host": "own.example:8080"} | ({} if origin is None else {"origin": origin})
    assert Origins("default", account, "https://chat.example/support").admits(request(**headers)) is admitted


def test_a_star_admits_every_page():
    assert Origins("default", WidgetAccount(origins=["*"]), None).admits(request(origin="https://any.example"))
