"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hf_folders import read_state

from jojo.export import folder as folders
from jojo.export import hf_folder
from jojo.export.hf_folder import save_folder
from jojo.models import hf


def test_a_folder_is_replaced_only_where_asked_for(saved_folder, tiny_model, tmp_path, complaint):
    folder = saved_folder()
    before = read_state(folder)
    assert "is there already" in complaint(save_folder, tiny_model(1), folder, "chatml")
    save_folder(tiny_model(1), folder, "chatml", overwrite=True)
    assert not torch.equal(read_state(folder)["wte.weight"], before["wte.weight"])
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def test_an_empty_folder_is_filled(tiny_model, tmp_path):
    (tmp_path / "out").mkdir()
    save_folder(tiny_model(), tmp_path / "out", "chatml")
    assert (tmp_path / "out" / "config.json").exists()
    modes = {p.stat().st_mode for p in (tmp_path / "out").iterdir()}
    assert len(modes) == 1  # who may read one of the files may read all


def test_what_is_no_models_folder_is_never_replaced(tiny_model, tmp_path, complaint):
    home = tmp_path / "home"
    (home / "letters").mkdir(parents=True)
    (home / "config.json").write_text("{}")
    (tmp_path / "file").write_text("x")
    for place in (home, tmp_path / "file", tmp_path):
        message = complaint(save_folder, tiny_model(), place, "chatml", overwrite=True)
        assert "choose another place" in message
    assert (home / "letters").exists()
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("stop", [OSError(28, "No space left"), KeyboardInterrupt()], ids=repr)
def test_a_stop_while_writing_leaves_what_was_there(
    stop, saved_folder, tiny_model, tmp_path, monkeypatch
):
    folder = saved_folder()
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*arguments, **settings):
        raise stop

    monkeypatch.setattr(hf_folder, "save_file", fail)
    with pytest.raises(type(stop)):
        save_folder(tiny_model(1), folder, "chatml", overwrite=True)
    with pytest.raises(type(stop)):
        save_folder(tiny_model(1), tmp_path / "new", "chatml")
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_what_a_killed_process_left_is_cleared_away(saved_folder, tiny_model, tmp_path):
    folder = saved_folder()
    killed = 2**22 + 1  # above the largest process id
    os.replace(folder, tmp_path / f".saved.{killed}.old")  # killed between two renames
    (tmp_path / f".saved.{killed}.tmp").mkdir()
    with pytest.raises(ValueError, match="already"):
        save_folder(tiny_model(1), folder, "chatml")
    assert hf.facts(folder) == {"template": "chatml"}  # the one before is back
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def test_a_failed_rename_puts_the_old_folder_back(saved_folder, tiny_model, monkeypatch):
    folder, real = saved_folder(), os.replace

    def replace(source, target):
        if str(source).endswith(".tmp") and Path(target) == folder:
            raise OSError("broken")
        real(source, target)

    monkeypatch.setattr(folders.os, "replace", replace)
    with pytest.raises(OSError, match="broken"):
        save_folder(tiny_model(1), folder, "chatml", overwrite=True)
    assert hf.facts(folder) == {"template": "chatml"}
