"""The code in the documents: which blocks there are, what is said of each, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"build", "output"}
PLACES = [place for place in ROOT.iterdir() if place.name[0] != "." and place.name not in ELSEWHERE]
DOCUMENTS = tuple(
    sorted(
        path.relative_to(ROOT).as_posix()
        for place in PLACES
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.suffix == ".md" and not ELSEWHERE & set(path.relative_to(ROOT).parts)
    )
)

# What a block may need that no test has; each need in the comment `<!-- needs: ..., ... -->` before it speaks of one.
NEEDS = {
    "data set": "a public one, which its owner hands out",
    "archives": "of a public data set, likewise",
    "videos": "of one's own",
    "weights": "a file that another repository hosts",
    "clone": "another repository's code",
    "server": "of the command before, which does not end",
    "AI Studio": "its folders and its image",
    "network": "another host",
    "ffmpeg": "a program of that name",
    "camera": "a machine that has one",
}
# Documents and folders whose blocks are all alike in this, unless a comment before one says something else.
ALIKE = {
    "CONTRIBUTING.md": "run by: make test",
    "alignment/README.md": "run by: tests/alignment/test_command.py",
    "test_tipc/": "run by: make certify",
    "logs/README.md": "needs: a data set, public weights",
    "docs/en/prepare.md": "needs: a data set",
    "docs/zh/prepare.md": "needs: a data set",
}

RUN = ("bash", "python")
MARK = re.compile(r"<!-- ((?:needs|run by|ends with): .+?) -->")
FENCE = re.compile(r"^```(\w*)$")
SEPARATORS = {"&&", "||", "|", ";", "&"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: Its file, relative to the root.
        line: Of its fence.
        language: Behind the fence.
        text: Between the fences.
        mark: What the comment before it says: `needs: ...`, `run by: ...`, `ends with: ...`, or nothing.
    """

    document: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def is_run(self) -> bool:
        """Whether nothing hinders a test from running it."""
        return self.language in RUN and not self.mark.startswith(("needs", "run by"))

    def said(self, what: str) -> str:
        """What stands behind `needs`, `run by` or `ends with`."""
        return self.mark.partition(f"{what}: ")[2]

    def commands(self) -> list[list[str]]:
        """The words of each simple command of a bash block, without comments, assignments and three dots."""
        found: list[list[str]] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            found.append([])
            for word in lexer:
                if word in SEPARATORS:
                    found.append([])
                elif word != "..." and (found[-1] or not re.match(r"\w+=", word)):
                    found[-1].append(word)
        return [words for words in found if words]

    def in_common(self) -> list[list[str]] | str | int:
        """What translations share: commands without comments; of a sketch without a language its lines; else all."""
        if self.language == "bash":
            return self.commands()
        return self.text if self.language else self.text.count("\n")


def blocks_of(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    found, mark, language, begin = [], "", "", 0
    alike = next((said for place, said in ALIKE.items() if document.startswith(place)), "")
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence and not begin:
            begin, language = number, fence[1]
        elif fence:
            text = "\n".join(lines[begin : number - 1]) + "\n"
            found.append(Block(document, begin, language, text, mark or alike * (language in RUN)))
            begin, mark = 0, ""
        elif not begin and line.strip():
            assert "```" not in line, f"{document}:{number}: a block begins at the margin, with its language alone"
            comment = MARK.fullmatch(line.strip())
            mark = comment[1] if comment else ""
    assert not begin, f"{document}: the block of line {begin} has no end"
    return found
