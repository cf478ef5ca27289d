"""What a caller is told of an answer's sources."""

from storage.answers import citations


def test_a_document_is_cited_to_its_page_and_nothing_is_said_where_there_is_nothing_to_say() -> None:
    made = {
        "citations": [
            {"id": "a", "title": "Question?", "source": None, "heading": None, "page": None},
            {"id": "b", "title": "Manual › Care", "source": "manual.pdf", "heading": "Manual › Care", "page": 2},
        ]
    }
    assert citations(made) == [{"id": "a", "title": "Question?"}, made["citations"][1]]
    assert citations({}) == []
