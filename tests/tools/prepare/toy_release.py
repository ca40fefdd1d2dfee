"""A data set as CONTRIBUTING.md has one added: a zip of videos, and a table of file names and classes."""

from tools.prepare.release import Annotations, Entry, Part, Release, Subset, alone, text_named


def annotate(texts, lists):
    """Reads `toy.csv`, a line of which is `file;class;subset`."""
    _, text = text_named(texts, "toy.csv")
    rows = [line.split(";") for line in text.split()]
    names = tuple(sorted({row[1] for row in rows}))
    subsets = (
        Subset(subset, 1, tuple(Entry((row[0],), names.index(row[1])) for row in rows if row[2] == subset))
        for subset in ("train", "val")
    )
    return Annotations(names, tuple(subsets))


RELEASE = Release(
    list_name="toy",
    videos=(Part("the videos", "toy.zip", r"toy\.zip", r".+\.mp4"),),
    texts=(Part("the table", "toy.csv", r"toy_tables\.zip", r"toy\.csv"),),
    annotate=annotate,
    place=alone,
    preset="finetune_tsm_mobilenet_v2",
    official={("train", 1): 2, ("val", 1): 1},
)
