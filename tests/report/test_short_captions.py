"""Captions of two lines, and notes that a page says once, in every format."""

from __future__ import annotations

from dataclasses import replace

from harness.report.figures.figure import Drawing, new_figure
from harness.report.tables.table import Table
from harness.report.writers.repeats import legends, said_once, short_caption

TABLE = Table(
    kind="means",
    dataset="cortex",
    title="Cortex",
    caption=("One sentence of a caption.", "Another one that is rather long.", "Not ranked."),
    row_header=("Variant",),
    columns=(),
    rows=(),
    notes=("A note.",),
)


def test_what_is_over_is_the_first_note():
    short = short_caption(TABLE, 60)
    assert short.caption == TABLE.caption[:2]
    assert short.notes == ("Not ranked.", "A note.")
    assert short_caption(TABLE, 200) == TABLE


def test_the_words_on_marks_count():
    assert short_caption(replace(TABLE, marked="mean"), 130).caption == TABLE.caption[:1] + TABLE.caption[1:2]
    assert short_caption(replace(TABLE, marked="mean"), 120).caption == TABLE.caption[:1]


def test_in_the_place_of_a_sentence_that_is_too_long_stands_the_title_and_it_is_whole_below():
    asked = ("What do the two halves contribute, asked at length?", "Cortex.", "Answers: a table.")
    short = short_caption(replace(TABLE, caption=asked), 40)
    assert short.caption == ("Cortex.",)
    assert short.notes == (asked[0], asked[2], "A note.")


def test_a_sentence_that_is_too_long_by_itself_is_cut_between_its_parts_and_whole_below():
    long = "Names: first part, second part; a third part that a user made as long as he liked."
    short = short_caption(replace(TABLE, title="x" * 50, caption=(long,)), 40)
    assert short.caption == ("Names: first part, second part …",)
    assert short.notes[0] == long
    unbroken = short_caption(replace(TABLE, title="x" * 500, caption=("x" * 500,)), 40)
    assert len(unbroken.caption[0]) <= 40


def test_a_page_says_a_note_once_whatever_the_dataset():
    other = replace(TABLE, dataset="brats2023", notes=("A note.", "Its own."))
    first, second = said_once([TABLE, other], 60)
    assert first.notes == ("Not ranked.", "A note.")
    assert second.notes == ("Its own.",)
    assert said_once([TABLE], 60)[0].notes == first.notes


def test_figures_alike_say_how_they_are_read_once():
    words = "Cortex: 3 patients. Boxes span the quartiles. The line is the median."
    one, two = (Drawing(name, name, words, new_figure(2, 2)) for name in ("a", "b"))
    found = legends([one, two], 50)
    assert found["a"].caption == found["b"].caption == "Cortex: 3 patients. Boxes span the quartiles."
    assert (found["a"].notes, found["b"].notes) == (("The line is the median.",), ())
