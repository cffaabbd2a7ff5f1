"""A phrasing table of one intent, for tests to change."""

from __future__ import annotations

SMALL = """
plans = "@any"
[intents.hello]
user = "hello"
reply = "Hi!"
"""


def write_table(tmp_path, text):
    path = tmp_path / "bot.toml"
    path.write_text(text)
    return path
