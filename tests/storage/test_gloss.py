"""Russian words as English ones."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import numpy as np
import pytest

from storage.embedder.minilm import MiniLm
from storage.gloss import Glossary, glossary
from storage.lexical import Features, LexicalIndex, Question
from storage.words import normalise, stem

LINES = ["return money\tвернуть_деньги манибэк", "-\tи же", "deliver\tдоставить доставка", "cat\tкот кошка"]


@pytest.mark.parametrize(
    ("text", "gloss"),
    [
        ("Доставьте кошек", "deliver cat"),  # forms whose stem is another one than the dictionary form's
        ("и же", "и же"),  # better than nothing
        ("верните деньги за iPhone", "return money iphone"),
        ("дотсавка, достовка, доставкка", "deliver deliver deliver"),
        ("кит и кошка", "cat"),  # short words are not guessed
        ("Where is my order?", "Where is my order?"),
        ("", ""),
    ],
)
def test_words_are_read_by_form_phrase_and_slip(text: str, gloss: str) -> None:
    assert Glossary(LINES).gloss(text) == gloss


def test_the_packaged_glossary_lists_each_word_once_in_its_own_alphabet() -> None:
    keys: Counter[tuple[str, ...]] = Counter()
    for line in files("storage").joinpath("ru_en.tsv").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9 '&-]+\t[а-яa-z0-9_/ -]+", line), line
        keys.update(tuple(stem(w) for w in normalise(p.replace("_", " ")).split()) for p in line.split("\t")[1].split())
    assert [key for key, times in keys.items() if times > 1] == []
    assert len(keys) > 8000


def test_questions_without_a_shared_word_are_near_by_meaning() -> None:
    model = MiniLm(threads=1)
    asked = model.encode_queries(["хочу получить назад свои деньги"])
    texts = ["Как оформить возврат средств?", "Где вы находитесь?", "Есть ли рассрочка?", "How do I get a refund?"]
    scores = (model.encode_passages(texts) @ asked.T)[:, 0]
    assert np.argmax(scores[:3]) == 0
    assert scores[3] > scores[1]


def test_synonyms_share_a_feature() -> None:
    index = LexicalIndex([Features.of("покупка автомобиля"), Features.of("ремонт холодильника")])
    stems, _ = index.scores(Features.of("приобрести машину"))
    assert stems[0] > 0.3 > stems[1]


def test_names_and_terms_the_glossary_does_not_list_are_told_from_words_that_say_nothing() -> None:
    telling, unlisted = Glossary(LINES).telling("И верните деньги же за «Лорелею» на iPhone 7")
    assert telling == ["верните", "деньги", "за", "лорелею", "на", "iphone", "7"]
    assert unlisted == ["за", "лорелею", "на", "iphone", "7"]
    _, unlisted = glossary().telling("Кто придумал легенду о Лорелее?")
    assert unlisted == ["лорелее"]


def test_a_text_counts_for_the_unlisted_words_it_has() -> None:
    texts = ["Легенду о любви сочинили в деревне", "Песня о Лорелее: её сложил поэт Брентано", "Поэт жил в деревне"]
    index = LexicalIndex([Features.of(text) for text in texts], whole=True)
    found = index.unlisted(Question.of("Кто придумал легенду о Лорелее?"))
    assert 0 < found[1] < 1
    assert found[[0, 2]].tolist() == [0, 0]
    assert not index.unlisted(Question.of("Who invented Lorelei?")).any()


def test_english_is_left_alone() -> None:
    assert glossary().glosses("Where is my order?") == []
    assert glossary().telling("Where is my order?") == ([], [])


def test_many_threads_read_at_once() -> None:
    words = [f"{word}{ending}" for word in ("доставк", "возвращени", "заказыва", "покупател") for ending in "аеиоуыюя"]
    expected = [stem.__wrapped__(word) for word in words]

    def read(_: int) -> list[str]:
        return [stem.__wrapped__(word) for word in words for _ in range(40)][::40]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(read, range(64)))
