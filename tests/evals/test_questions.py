"""Files of labelled questions: what is read, and what is refused with its row."""

from pathlib import Path

import pytest

from pipeline.evaluation.questions import check_gold, read_bursts, read_questions, read_texts
from ragline.errors import ConfigurationError


def written(folder: Path, *lines: str, name: str = "q.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_is_read_with_its_labels(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"text": "q", "gold": [7, "b"], "split": "dev", "kind": "in", "lex": 2, "style": "terse"}'
    )
    (found,) = read_questions(path, "dev")
    assert (found.gold, found.labels, found.outside) == (frozenset({"7", "b"}), {"lex": "2", "style": "terse"}, False)


def test_what_has_no_answer_is_outside_but_small_talk_and_the_wish_for_a_person(tmp_path: Path) -> None:
    kinds = ("near", "smalltalk", "human_request")
    path = written(tmp_path, *(f'{{"text": "q", "gold": [], "kind": "{kind}"}}' for kind in kinds))
    assert [question.outside for question in read_questions(path)] == [True, False, False]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "row 2: is not JSON"),
        ("[]", "row 2: is not a JSON object"),
        ('{"gold": []}', "row 2: has no text"),
        ('{"text": null, "gold": []}', "row 2: has no text"),
        ('{"text": "q"}', "row 2: has no gold"),
        ('{"text": "q", "gold": "a"}', "row 2: has no gold"),
        ('{"text": "q", "gold": [true]}', "row 2: has no gold"),
        ('{"text": "q", "gold": [], "kind": "in"}', "row 2: is of kind in and its gold is empty"),
        ('{"text": "q", "gold": ["a"], "kind": "smalltalk"}', "row 2: is of kind smalltalk"),
        ('{"text": "q", "gold": [], "kind": 3}', "row 2: has a kind or a split that is not text"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, '{"text": "q", "gold": []}', line)
    with pytest.raises(ConfigurationError, match=reason):
        read_questions(path)


def test_a_blank_message_is_a_question_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "", "gold": [], "kind": "oos"}')
    assert read_questions(path)[0].outside


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"row 5: .*; and 2 more$"):
        read_questions(written(tmp_path, *["{}"] * 7))


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "q", "gold": [], "split": "val"}')
    with pytest.raises(ConfigurationError, match="no rows of split 'dev'; it has val"):
        read_questions(path, "dev")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_questions(tmp_path / "q.jsonl")
    with pytest.raises(ConfigurationError, match="holds no rows"):
        read_questions(written(tmp_path, ""))


def test_a_label_must_name_an_item_of_the_base(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "q", "gold": ["a"]}', '{"text": "q", "gold": ["typo"]}')
    with pytest.raises(ConfigurationError, match="row 2: gold names typo"):
        check_gold(path, read_questions(path), {"a"})


def test_bursts_are_texts_or_objects_with_one(tmp_path: Path) -> None:
    path = written(tmp_path, '{"messages": [{"t": 0, "text": "hi"}, "there"], "gold": ["a"]}')
    assert read_bursts(path)[0].messages == ("hi", "there")
    with pytest.raises(ConfigurationError, match="row 1: has no message"):
        read_bursts(written(tmp_path, '{"messages": [{"t": 0}], "gold": ["a"]}'))


def test_questions_without_labels_are_rows_or_lines_each_once(tmp_path: Path) -> None:
    assert read_texts(written(tmp_path, '{"text": "one"}', '{"text": "two"}', '{"text": "one"}')) == ["one", "two"]
    assert read_texts(written(tmp_path, "one", "", " two ", name="q.txt")) == ["one", "two"]
