"""Facts of documents of each type, under the right heading and on the right page; ten broken ones, refused."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from storage.documents.blocks import Unreadable
from storage.documents.chunks import AIM, MOST, Passage, passages
from storage.documents.sandbox import TYPES, Sandbox
from tests.support import documents as made


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_pdf_pages_and_headings(sandbox: Sandbox) -> None:
    content = made.pdf(
        [
            [("Kettle manual", 24), ("Warranty", 16), ("The warranty lasts twenty-four", 11), ("months and cov-", 11)],
            [("ers the motor. It does not cover the lid.", 11), ("Доставка", 16), ("Доставка стоит 300 рублей.", 11)],
            [("Cleaning", 16), ("Descale it once a month.", 11), ("3", 9)],
        ],
        title="Kettle manual",
    )
    assert passages(sandbox.read(content, "pdf")) == [
        Passage("The warranty lasts twenty-four months and covers the motor.", "Kettle manual › Warranty", 1),
        Passage("It does not cover the lid.", "Kettle manual › Warranty", 2),
        Passage("Доставка стоит 300 рублей.", "Kettle manual › Доставка", 2),
        Passage("Descale it once a month.", "Kettle manual › Cleaning", 3),
    ]


def test_a_running_title_is_left_out_and_a_fact_that_only_looks_like_one_is_not(sandbox: Sandbox) -> None:
    pages = [
        [(f"Shop rules, page {n}", 9), (f"Rule {n * 7} costs {n * 100} roubles.", 11), (f"It holds {n * 7} days.", 11)]
        for n in (1, 2, 3, 4)
    ]
    found = passages(sandbox.read(made.pdf(pages), "pdf"))
    assert [(passage.text, passage.page) for passage in found] == [
        (f"Rule {n * 7} costs {n * 100} roubles. It holds {n * 7} days.", n) for n in (1, 2, 3, 4)
    ]


def test_word_pages_are_counted_by_breaks_and_table_rows_stand_alone(sandbox: Sandbox) -> None:
    table = [["Size", "Chest"], ["L", "100 cm"], ["XL", "108 cm"]]
    content = made.docx([["# Returns", "Within 14 days."], ["# Sizes", table], ["# Care", "Wash cold."]], title="Shop")
    assert passages(sandbox.read(content, "docx")) == [
        Passage("Within 14 days.", "Shop › Returns", 1),
        Passage("Size: L; Chest: 100 cm\nSize: XL; Chest: 108 cm", "Shop › Sizes", 2),
        Passage("Wash cold.", "Shop › Care", 3),
    ]


def test_word_pages_as_word_noted_them(sandbox: Sandbox) -> None:
    rendered, page_break = "<w:lastRenderedPageBreak/>", '<w:br w:type="page"/>'
    paragraphs = [
        "<w:r><w:t>First. </w:t></w:r>" + f"<w:r>{rendered}<w:t>Second.</w:t></w:r>",
        f"<w:r>{page_break}</w:r>",
        f"<w:r>{rendered}<w:t>Third.</w:t></w:r>",
        f"<w:r>{page_break}</w:r>",
        f"<w:r>{rendered}{page_break}</w:r>",
        f"<w:r>{rendered}<w:t>Fifth, after an empty one.</w:t></w:r>",
        f"<w:r>{rendered}<w:t>Sixth.</w:t></w:r>",
    ]
    found = sandbox.read(made.docx_of("".join(f"<w:p>{runs}</w:p>" for runs in paragraphs)), "docx")
    assert [block.page for block in found.blocks] == [1, 2, 3, 5, 6]


def test_word_pages_nobody_can_know_are_not_made_up(sandbox: Sandbox) -> None:
    assert [p.page for p in passages(sandbox.read(made.docx([["No break at all."]]), "docx"))] == [None]
    long = ["A sentence of some length, said again and again. " * 20] * 5
    found = passages(sandbox.read(made.docx([[*long, "After."], ["The end."]]), "docx"))
    assert found[0].page == 1
    assert found[-1].page is None


def test_html_is_read_without_its_frame(sandbox: Sandbox) -> None:
    page = """<html><head><meta charset="windows-1251"><title>Магазин</title></head><body>
      <nav>Menu</nav><header>Logo</header><main><h1>Возврат</h1><p>Вернуть <b>можно</b> за 14&nbsp;дней.</p>
      <h2>Цены</h2><table><tr><th>Город</th><th>Цена</th></tr><tr><td>Тверь</td><td>300</td></tr></table>
      <div hidden>Old</div><script>var x = "no";</script></main><footer>© 2026</footer></body></html>"""
    assert passages(sandbox.read(page.encode("cp1251"), "html")) == [
        Passage("Вернуть можно за 14 дней.", "Магазин › Возврат", None),
        Passage("Город: Тверь; Цена: 300", "Магазин › Возврат › Цены", None),
    ]


def test_markdown_and_text(sandbox: Sandbox) -> None:
    text = "---\ntitle: FAQ\n---\n# Hours\n\nOpen *daily*\nfrom `9`.\n\n- Monday\n- Friday\n\n"
    text += "| A | B |\n|---|---|\n| 1 | 2 |\n"
    assert passages(sandbox.read(text.encode(), "markdown")) == [
        Passage("Open daily from 9.\nMonday\nFriday\nA: 1; B: 2", "FAQ › Hours", None)
    ]
    assert passages(sandbox.read("Раз.\r\n\r\nДва.\fТри.".encode("cp1251"), "plain")) == [
        Passage("Раз.\nДва.", "", 1),
        Passage("Три.", "", 2),
    ]


def test_long_text_is_cut_at_sentences(sandbox: Sandbox) -> None:
    text = " ".join(f"Sentence number {n} says something of the shop." for n in range(200))
    found = passages(sandbox.read(text.encode(), "plain"))
    assert " ".join(passage.text for passage in found) == text
    assert all(AIM / 2 < len(passage.text) <= MOST for passage in found[:-1])
    assert all(passage.text.endswith(".") for passage in found)
    endless = passages(sandbox.read(("x" * 5000).encode(), "plain"))
    assert "".join(passage.text for passage in endless) == "x" * 5000
    assert max(len(passage.text) for passage in endless) <= MOST


BROKEN = {
    "cut.pdf": "cannot be read as PDF",
    "locked.pdf": "locked with a password",
    "scan.pdf": "only pictures",
    "endless.pdf": "cannot be read as PDF",
    "cut.docx": "cannot be read as DOCX",
    "locked.docx": "locked with a password",
    "bomb.docx": "unpacks to more than 200 MB",
    "entities.docx": "cannot be read as DOCX",
    "picture.html": "is not text",
    "empty.md": "has no text",
}


def test_ten_broken_files_are_refused_each_with_its_reason(sandbox: Sandbox) -> None:
    files = made.broken()
    assert len(BROKEN) == 10
    began = time.monotonic()
    for name, reason in BROKEN.items():
        with pytest.raises(Unreadable, match=reason):
            sandbox.read(files[name], TYPES[Path(name).suffix])
    assert time.monotonic() - began < 20
    assert sandbox.read(b"Still alive.", "plain").blocks[0].text == "Still alive."


def test_one_that_takes_too_long_or_too_much_is_given_up_and_the_next_one_read() -> None:
    heavy = made.heavy_pdf(pages=4000)
    with Sandbox(time=timedelta(seconds=2)) as sandbox:
        with pytest.raises(Unreadable, match="took more than 2 s"):
            sandbox.read(heavy, "pdf")
        assert sandbox.read(b"Next.", "plain").blocks[0].text == "Next."
    with Sandbox(memory=150 * 2**20) as sandbox:
        with pytest.raises(Unreadable, match="needs more than 150 MB of memory"):
            sandbox.read(b"word " * 9_000_000, "plain")
        assert sandbox.read(b"Next.", "plain").blocks[0].text == "Next."
