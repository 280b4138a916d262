"""The pages that visitors read."""

import re

import pytest

from hearthgate.home.edge.pages import PAGES, html


@pytest.mark.parametrize("status", PAGES)
def test_page_needs_nothing_else_and_fits_into_a_buffer(status: int) -> None:
    page = html(status)
    assert PAGES[status].title in page
    assert not re.search(r"https?://|src=|url\(|@import|<script", page)
    assert "prefers-color-scheme: dark" in page
    assert "$" not in page
    assert len(page.encode()) < 8 * 1024  # HAProxy's buffer is 16 KiB with headers
