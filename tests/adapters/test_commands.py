"""The book of one device's commands: what it keeps."""

import pickle
from datetime import timedelta

from adapters.modbus.commands import CommandBook
from adapters.modbus.page_file import load_page
from ems.reading import Quality, Reading
from tests.adapters.small_site import START


def test_years_of_setpoints_that_change_every_second_leave_nothing_behind():
    page = load_page("generic-grid-interactive-ups")
    command = page.commands[0]
    book, words = CommandBook(page), {}
    sizes = []
    for k in range(4000):
        now = START + timedelta(seconds=k)
        book.want({command.name: float(k % 400)})
        for write in book.writes(now, words, False):
            book.note_sent(write, now, False)
            book.note_sent(write, now, True)
        shown = Reading(float(k % 400), now + timedelta(seconds=0.5), Quality.GOOD)
        book.compare(command, shown, words, is_followed=True, is_writing=False)
        if k in (399, 3999):
            sizes.append(len(pickle.dumps(book)))
    assert book.is_holding and book.problems == []
    assert sizes[1] <= sizes[0] * 1.05
