"""Pages in one file: what is in them is safe, and asks nobody for anything."""

import html.parser

from runtime.html_page import document, row, section, svg, table, text


class Seen(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.data = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data.append(data)


def parsed(page):
    seen = Seen()
    seen.feed(page)
    return seen


def test_a_page_shows_names_as_they_are_and_runs_nothing():
    name = '<script>alert("x")</script> & \x00 视频'
    page = document(name, [section("A", table(("name", "n"), [row((name, 1), numeric={1})])), section("B", "")])
    seen = parsed(page)
    assert "script" not in [tag for tag, _ in seen.tags]
    shown = name.replace("\x00", "\\x00")
    assert seen.data.count(shown) == 3  # title, heading, cell
    assert not any("src" in attrs or "href" in attrs for _, attrs in seen.tags)
    assert "B" not in seen.data  # a section without content
    assert ("td", {"class": "n"}) in seen.tags
    assert text("a\nb") == "a\nb"


def test_rows_that_have_not_passed_stand_out():
    assert row(("a",), passed=False).startswith("<tr class=bad>")
    assert row(("a",)).startswith("<tr>")
    assert "<th>" not in table(("", ""), [row(("a", "b"))])


def test_a_drawing_has_neither_prolog_nor_metadata():
    class Drawing:
        def savefig(self, fname, *, format, metadata):
            assert (format, metadata) == ("svg", {"Date": None})
            fname.write("<?xml?>\n<svg><metadata>\n x\n</metadata><path/></svg>")

    assert svg(Drawing()) == "<svg><path/></svg>"
