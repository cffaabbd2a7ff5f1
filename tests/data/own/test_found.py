"""What lies in files, folders and archives: exports told from one another and from the rest."""

from __future__ import annotations

import zipfile
from pathlib import Path

from exports import discord_export, discord_message, exported, telegram_message

from jojo.data.own import discord, interviews, telegram


def test_each_form_is_recognised_as_itself_alone() -> None:
    forms = {
        discord: discord_export(discord_message("hi")),
        telegram: {"type": "private_group", "id": 1, "messages": [telegram_message("hi")]},
        interviews: [{"conversationId": "1", "senderName": "Bob", "text": "hi"}],
    }
    for data in forms.values():
        assert [kind for kind in forms if kind.matches(data)] == [
            kind for kind in forms if forms[kind] is data
        ]
    for other in (
        [],
        {},
        None,
        1,
        "x",
        [1],
        [{}],
        {"messages": []},
        {"chats": []},
        {"chats": {"list": 1}},
    ):
        assert not any(kind.matches(other) for kind in forms), other


def test_a_folder_of_exports_with_other_files_and_zips(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1/13/21, 12:00 - Anna: hi\n1/13/21, 12:01 - Bob: ho\n")
    (tmp_path / "b.json").write_text('{"some": "settings"}')
    (tmp_path / "c.json").write_text('{"cut off')
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with zipfile.ZipFile(tmp_path / "WhatsApp Chat - Bob.zip", "w") as archive:
        archive.writestr(
            "_chat.txt", "[13.01.21, 12:00:00] Anna: ja?\n[13.01.21, 12:00:01] Bob: nein\n"
        )
    found, tally = exported(tmp_path, me="Bob")
    assert found == [["u: ja?", "a: nein"], ["u: hi", "a: ho"]]
    assert tally.dropped == {"no known shape": 1, "malformed JSON": 1, "a file that is an image": 1}


def test_exports_in_other_encodings(tmp_path: Path) -> None:
    text = "1/13/21, 12:00 - Anna: hé\n1/13/21, 12:01 - Bob: ho\n"
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "a.txt").write_text(text, encoding=encoding)
        assert exported(tmp_path / "a.txt", me="Bob")[0] == [["u: hé", "a: ho"]]
