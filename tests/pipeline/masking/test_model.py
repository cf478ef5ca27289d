"""What a masked model is shown, and what comes back from it, whole or as it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from pipeline.llm import Audio, Completion, OnText, Transcript
from pipeline.masking import MaskingModel
from pipeline.masking.reach import is_outside, masks
from pipeline.masking.vault import Vault
from pipeline.prompt_check import SAMPLE
from pipeline.prompts import load, names
from pipeline.turn import Usage
from ragline.settings import Settings


class Scripted:
    """A language model that answers with a function of what it was shown, a few characters at a time."""

    def __init__(self, answer: Callable[[str], str], step: int = 1) -> None:
        self.answer, self.step = answer, step
        self.seen: list[Sequence[dict[str, Any]]] = []

    def complete(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        purpose: str = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        self.seen.append(messages)
        text = self.answer(str(messages[-1]["content"]))
        for end in range(self.step, len(text) + self.step, self.step) if on_text else ():
            on_text(text[:end])
        return Completion(text, Usage())

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        return Transcript("my phone is +7 916 123-45-67", "en", Usage())

    def count_tokens(self, text: str) -> int:
        return len(text)


def asked(text: str, passages: str = "Call us: 8 800 555-35-35.", system: str = "Be brief.") -> list[dict[str, Any]]:
    known = f'<passages key="a1">\n<passage number="1" key="a1">\n{passages}\n</passage>\n</passages>'
    content = f'{known}\n<customer key="a1">\n{text}\n</customer>'
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def test_a_value_has_one_mark_however_it_is_written_and_in_every_call_of_a_turn() -> None:
    inner = Scripted(lambda shown: "I call [PHONE_1].")
    model = MaskingModel(inner)
    text = "My phone is +7 916 123-45-67, again 8 (916) 123 45 67; mail a.b@mail.ru. Order 123456789012"
    written = "it comes back as it was written last"
    assert model.complete(asked(text), max_tokens=9).text == "I call 8 (916) 123 45 67.", written
    assert model.complete(asked("write to a.b@mail.ru or 89161234567"), max_tokens=9).text == "I call 89161234567."
    first, second = (str(messages[1]["content"]) for messages in inner.seen)
    assert "phone is [PHONE_1], again [PHONE_1]; mail [EMAIL_1]. Order 123456789012" in first
    assert "write to [EMAIL_1] or [PHONE_1]" in second
    assert "[PHONE_1]" in inner.seen[0][0]["content"], "the model is told what marks are"


def test_a_spoken_number_is_the_same_and_a_long_list_has_a_mark_for_each() -> None:
    inner = Scripted(lambda shown: shown.partition("<customer")[2])
    text = "Мой телефон 89161234567, то есть восемь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь."
    MaskingModel(inner).complete(asked(text), max_tokens=9)
    assert "Мой телефон [PHONE_1], то есть [PHONE_1]." in str(inner.seen[0][1]["content"])
    many = "\n".join(f"client{number}@mail.ru" for number in range(1_200))
    told: list[str] = []
    inner.step = 4_001
    found = MaskingModel(inner).complete(asked(many), max_tokens=9, on_text=told.append)
    assert "@" not in str(inner.seen[1][1]["content"])
    assert many in found.text
    assert "EMAIL" not in found.text + "".join(told)


SAID = "тел восемь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь, ИНН 500100732259, заказ 4500123"


@pytest.mark.parametrize("name", [name for name in names() if {"summary", "question", "words"} & load(name).accepts])
def test_every_template_sends_what_a_customer_said_masked_and_its_own_words_as_they_are(name: str) -> None:
    inner, template = Scripted(lambda shown: "ok"), load(name)
    own = {"summary": SAID, "question": SAID, "words": SAID, "answer": SAID, "shown": SAID}
    given = {**SAMPLE, **own, "history": [("customer", SAID), ("assistant", SAID)]}
    plain = template.messages(**{name: given[name] for name in template.accepts})
    MaskingModel(inner).complete(plain, max_tokens=9)
    sent = "\n".join(str(message["content"]) for message in inner.seen[0])
    assert "девятьсот" not in sent
    assert "500100732259" not in sent
    masked = "тел [PHONE_1], ИНН [INN_1], заказ 4500123"
    for message in plain:
        assert str(message["content"]).replace(SAID, masked) in sent


def test_without_personal_data_nothing_is_changed() -> None:
    inner = Scripted(lambda shown: "Two days [1].")
    messages = asked("Where is order 123456789012 for 12 500 руб?")
    assert MaskingModel(inner).complete(messages, max_tokens=9).text == "Two days [1]."
    assert inner.seen[0] == messages


def test_the_company_s_own_data_stays_even_where_the_customer_repeats_it() -> None:
    inner = Scripted(lambda shown: "Yes, 8 800 555-35-35 is ours; I will tell [PHONE_1].")
    found = MaskingModel(inner).complete(asked("Is 88005553535 yours? Mine is 89161234567"), max_tokens=9)
    shown = str(inner.seen[0][1]["content"])
    assert "Call us: 8 800 555-35-35." in shown
    assert "Is 88005553535 yours? Mine is [PHONE_1]" in shown
    assert found.text == "Yes, 8 800 555-35-35 is ours; I will tell 89161234567."


def test_a_name_is_known_again_where_nothing_introduces_it() -> None:
    inner = Scripted(lambda shown: "ok")
    history = "assistant: Спасибо, Анна Петрова!\ncustomer: Меня зовут Анна Петрова"
    MaskingModel(inner).complete(asked(history), max_tokens=9)
    assert "assistant: Спасибо, [NAME_1]!\ncustomer: Меня зовут [NAME_1]" in str(inner.seen[0][1]["content"])


def test_marks_a_customer_typed_are_theirs() -> None:
    inner = Scripted(lambda shown: shown.partition("<customer")[2])
    text = "[PHONE_1] and PHONE_1, really 89161234567"
    found = MaskingModel(inner).complete(asked(text), max_tokens=9).text
    assert "[PHONE_1] and PHONE_1, really 89161234567" in found
    assert "[TEXT_1] and [TEXT_2], really [PHONE_1]" in str(inner.seen[0][1]["content"])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("[phone_1]", "{p}"), ("[ PHONE 1 ]", "{p}"), ("[Phone-1]", "{p}"), ("[PHONE1]", "{p}"),
        (r"\[PHONE\_1\]", "{p}"),
        ("**[PHONE_1]**", "**{p}**"), ("[ТЕЛЕФОН_1]", "{p}"), ("[Номер телефона 1]", "{p}"), ("【PHONE_1】", "{p}"),
        ("<PHONE_1>", "{p}"), ("{PHONE_1}", "{p}"), ("PHONE_1", "{p}"), ("(PHONE_1)", "({p})"),
        ("[[PHONE_1]]", "[{p}]"),
        ("[PHONE_2]", "[PHONE_2]"), ("[1]", "[1]"), ("[PHONE_12]", "[PHONE_12]"), ("PHONE_12", "PHONE_12"),
        ("[PHONE_1](tel:[PHONE_1])", "{p}(tel:{p})"), ("(телефон 1)", "(телефон 1)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 4])
def test_a_mark_that_the_model_altered_is_known_and_never_seen_in_part(said: str, meant: str, step: int) -> None:
    inner = Scripted(lambda shown: f"We call {said}, or mail. A < B [1] ok", step)
    told: list[str] = []
    text = MaskingModel(inner).complete(asked("my phone: 89161234567"), max_tokens=9, on_text=told.append).text
    assert text == f"We call {meant.format(p='89161234567')}, or mail. A < B [1] ok"
    assert told[-1] == text
    for shorter, longer in pairwise(told):
        assert longer.startswith(shorter)


def test_what_was_held_back_at_the_end_is_told() -> None:
    told: list[str] = []
    MaskingModel(Scripted(lambda shown: "see [P")).complete(asked("tel 89161234567"), max_tokens=9, on_text=told.append)
    assert told[-1] == "see [P"


def test_another_model_s_beginning_is_passed_on() -> None:
    class Restarts(Scripted):
        def complete(
            self, messages: Any, *, max_tokens: int, purpose: str = "answer", on_text: Any = None
        ) -> Completion:
            for text in ("First tr", "", "Sec", "Second"):
                on_text(text)
            return Completion("Second", Usage())

    told: list[str] = []
    MaskingModel(Restarts(str)).complete(asked("tel 89161234567"), max_tokens=9, on_text=told.append)
    assert told == ["First tr", "", "Sec", "Second"]


def test_texts_among_pictures_are_masked_and_sound_passes_through() -> None:
    inner = Scripted(lambda shown: "ok")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    model = MaskingModel(inner)
    model.complete([{"role": "user", "content": [{"type": "text", "text": "mail a@b.ru"}, picture]}], max_tokens=9)
    note, message = inner.seen[0]
    assert note["role"] == "system"
    assert message["content"] == [{"type": "text", "text": "mail [EMAIL_1]"}, picture]
    assert model.transcribe(Audio(b"", "a.ogg", "audio/ogg")).text == "my phone is +7 916 123-45-67"


def test_a_vault_without_values_holds_nothing_back() -> None:
    assert Vault().restore_growing("see [P") == "see [P"


@pytest.mark.parametrize(
    ("model", "base", "outside"),
    [
        ("openai/gpt-4.1-mini", None, True),
        ("openai/x", "http://127.0.0.1:8000/v1", False),
        ("openai/x", "http://[::1]:8000/v1", False),
        ("openai/x", "https://10.1.2.3/v1", False),
        ("openai/x", "http://vllm:8000/v1", False),
        ("openai/x", "http://gpu.internal/v1", False),
        ("openai/x", "https://llm.shop.example/v1", True),
        ("openai/x", "https://8.8.8.8/v1", True),
        ("ollama_chat/llama3", None, False),
        ("ollama_chat/llama3", "https://ollama.example.com", True),
    ],
)
def test_what_is_outside(model: str, base: str | None, outside: bool) -> None:
    assert is_outside(model, base) is outside


@pytest.mark.parametrize(
    ("setting", "route", "expected"),
    [
        ("external", ["ollama_chat/a", "openai/b"], True),
        ("external", ["ollama_chat/a"], False),
        (True, ["ollama_chat/a"], True),
        ("off", ["openai/b"], False),
    ],
)
def test_one_model_outside_is_enough(setting: object, route: list[str], expected: bool) -> None:
    settings = Settings.model_validate(
        {"privacy": {"masking": setting}, "llm": {"routes": {"text": route, "voice": []}}}
    )
    assert masks(settings) is expected
