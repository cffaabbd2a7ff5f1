"""The phrasing table of chit-chat, read once."""

from __future__ import annotations

import pytest

from jojo.data.chitchat.table import load_table


@pytest.fixture(scope="session")
def table():
    return load_table()
