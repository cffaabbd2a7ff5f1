"""Where public datasets come from: their places most trusted first; licences, papers, sizes.

    folder = raw("cornell", options, tally)  # --input, or the download from what works first
    with opened(folder) as files:  # every file in it; archives are unpacked for as long
        ...

Downloads are kept under <out_dir>/raw/<dataset>/ and never fetched twice. The table only points
at data: none of it is ours to distribute.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.command import say
from jojo.data.formats.archives import Unpacked, is_archive, unpack, visible_files
from jojo.files import write_text
from jojo.web.download import HUB, OUR_FAULT, DownloadError, download, hub_answers

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
WHOLE = ".whole"  # beside files of which none is missing; names them


@dataclass(frozen=True)
class Origin:
    """A place that has a dataset: a folder of the web and files in it, or a dataset of the hub."""

    where: str  # https://.../ or owner/name
    files: tuple[str, ...] = ()  # of a hub dataset also patterns; none: all its parquet
    sha256: Mapping[str, str] = field(default_factory=dict)  # file -> hash, where known
    revision: str | None = None  # of a hub dataset

    @property
    def is_hub(self) -> bool:
        return "://" not in self.where

    @property
    def urls(self) -> tuple[str, ...]:
        if self.is_hub:
            return (f"{HUB}/datasets/{self.where}",)
        return tuple(self.where + name for name in self.files) or (self.where,)


@dataclass(frozen=True)
class PublicDataset:
    title: str
    licence: str
    paper: str
    origins: tuple[Origin, ...]  # in order of trust
    size_bytes: int | None = None  # of the download from the first of them, about

    @property
    def where(self) -> tuple[str, ...]:
        """Every address, for the manifest."""
        return tuple(url for origin in self.origins for url in origin.urls)


PUBLIC_DATASETS = {
    "dailydialog": PublicDataset(
        "DailyDialog",
        "CC BY-NC-SA 4.0 (non-commercial, share alike)",
        "https://aclanthology.org/I17-1099",
        (
            Origin("OpenRL/daily_dialog"),
            Origin("akkasi/daily_dialog"),
            Origin("li2017dailydialog/daily_dialog", revision="refs/convert/parquet"),
            Origin(
                f"{HUB}/datasets/roskoN/dailydialog/resolve/main/",
                ("train.zip", "validation.zip", "test.zip"),
            ),
            Origin(
                "http://parl.ai/downloads/dailydialog/",
                ("dailydialog.tar.gz",),
                {
                    "dailydialog.tar.gz": (
                        "c3adb09bd715b9fa5cd1ac41613b7de61eb5afbe477826a6146abefef573e6bb"
                    )
                },
            ),
            Origin("http://yanran.li/files/", ("ijcnlp_dailydialog.zip",)),
        ),
        size_bytes=4_280_000,
    ),
    "tinystories": PublicDataset(
        "TinyStories V2",
        "CDLA-Sharing-1.0",
        "https://arxiv.org/abs/2305.07759",
        (
            Origin(
                f"{HUB}/datasets/roneneldan/TinyStories/resolve/main/",
                ("TinyStoriesV2-GPT4-valid.txt", "TinyStoriesV2-GPT4-train.txt"),
                {
                    "TinyStoriesV2-GPT4-valid.txt": (
                        "6874bae9a4c1a4e7edcf0e53b86c17817e9cf881fc75ff2368da457b80c0585d"
                    ),
                    "TinyStoriesV2-GPT4-train.txt": (
                        "6418d412de72888f52b5142c761ac21a582f7d1166f0bfbdb5f03ccfdec90443"
                    ),
                },
            ),
        ),
        size_bytes=2_250_255_763,
    ),
    "squad": PublicDataset(
        "SQuAD v1.1",
        "CC BY-SA 4.0",
        "https://arxiv.org/abs/1606.05250",
        (
            Origin(
                "https://rajpurkar.github.io/SQuAD-explorer/dataset/",
                ("train-v1.1.json", "dev-v1.1.json"),
                {
                    "train-v1.1.json": (
                        "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"
                    ),
                    "dev-v1.1.json": (
                        "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"
                    ),
                },
            ),
            Origin("rajpurkar/squad"),
        ),
        size_bytes=35_142_551,
    ),
    "cornell": PublicDataset(
        "Cornell Movie-Dialogs",
        "none stated (excerpts of film scripts, for research)",
        "https://aclanthology.org/W11-0609",
        (
            Origin(
                "https://www.cs.cornell.edu/~cristian/data/",
                ("cornell_movie_dialogs_corpus.zip",),
                {
                    "cornell_movie_dialogs_corpus.zip": (
                        "3bde8a571f615201bc2d2453e22878090719638592f774720eddec739de8c900"
                    )
                },
            ),
            Origin(
                "https://s3.amazonaws.com/pytorch-tutorial-assets/",
                ("cornell_movie_dialogs_corpus_v2.zip",),
            ),
        ),
        size_bytes=9_900_000,
    ),
    "convai2": PublicDataset(
        "ConvAI2 (Persona-Chat)",
        "none stated by its authors; ParlAI, which hands it out, is MIT",
        "https://arxiv.org/abs/1801.07243",
        (
            Origin(
                "http://parl.ai/downloads/convai2/",
                ("convai2_fix_723.tgz",),
                {
                    "convai2_fix_723.tgz": (
                        "d0ae89defe2fd0b0a4221eaa642a457d7d40cef475f54798119c7f3b8dd9361d"
                    )
                },
            ),
            Origin("AlekseyKorshuk/persona-chat"),
            Origin(
                "https://s3.amazonaws.com/datasets.huggingface.co/personachat/",
                ("personachat_self_original.json",),
            ),
        ),
    ),
    "blended_skill_talk": PublicDataset(
        "BlendedSkillTalk",
        "none stated by its authors; ParlAI, which hands it out, is MIT",
        "https://arxiv.org/abs/2004.08449",
        (
            Origin("ParlAI/blended_skill_talk"),
            Origin(
                "http://parl.ai/downloads/blended_skill_talk/",
                ("blended_skill_talk.tar.gz",),
                {
                    "blended_skill_talk.tar.gz": (
                        "5fbed0068ee89e2d43b93c3ecb341e784617033efa5e8e911a219d4eda6134a6"
                    )
                },
            ),
        ),
        size_bytes=10_900_000,
    ),
    "empathetic_dialogues": PublicDataset(
        "EmpatheticDialogues",
        "CC BY-NC 4.0 (non-commercial)",
        "https://arxiv.org/abs/1811.00207",
        (
            Origin(
                "https://dl.fbaipublicfiles.com/parlai/empatheticdialogues/",
                ("empatheticdialogues.tar.gz",),
                {
                    "empatheticdialogues.tar.gz": (
                        "240c492cb6199a315722f716bfcc14f13ea6605f1cec67349153b606be92f6f2"
                    )
                },
            ),
            Origin("Estwld/empathetic_dialogues_llm"),
        ),
        size_bytes=28_022_709,
    ),
    "dolly": PublicDataset(
        "Dolly 15k",
        "CC BY-SA 3.0 (share alike)",
        "https://huggingface.co/datasets/databricks/databricks-dolly-15k",
        (Origin("databricks/databricks-dolly-15k", ("databricks-dolly-15k.jsonl",)),),
        size_bytes=13_100_000,
    ),
    "oasst": PublicDataset(
        "OpenAssistant 2",
        "Apache-2.0",
        "https://arxiv.org/abs/2304.07327",
        (Origin("OpenAssistant/oasst2", ("2023-11-05_oasst2_ready.trees.jsonl.gz",)),),
        size_bytes=54_400_000,
    ),
    "sharegpt": PublicDataset(
        "ShareGPT",
        "none stated by those who wrote it (the collection calls itself Apache-2.0)",
        "https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
        (
            Origin(
                "anon8231489123/ShareGPT_Vicuna_unfiltered",
                ("ShareGPT_V3_unfiltered_cleaned_split.json",),
            ),
        ),
        size_bytes=673_000_000,
    ),
    "alpaca": PublicDataset(
        "Alpaca",
        "CC BY-NC 4.0 (non-commercial)",
        "https://github.com/tatsu-lab/stanford_alpaca",
        (
            Origin(
                "https://raw.githubusercontent.com/tatsu-lab/stanford_alpaca/main/",
                ("alpaca_data.json",),
            ),
        ),
        size_bytes=22_800_000,
    ),
    "words": PublicDataset(
        "English words",
        "Unlicense (public domain)",
        "https://github.com/dwyl/english-words",
        (
            Origin(
                "https://raw.githubusercontent.com/dwyl/english-words/master/",
                ("words_alpha.txt",),
            ),
        ),
        size_bytes=4_234_861,
    ),
    "dictionary_api": PublicDataset(  # asked word by word, never downloaded
        "Free Dictionary API",
        "CC BY-SA 3.0 (from Wiktionary, share alike)",
        "https://dictionaryapi.dev",
        (Origin("https://api.dictionaryapi.dev/api/v2/entries/en/"),),
    ),
}


def raw(dataset: str, options: PrepareOptions, tally: Tally) -> Path:
    """The raw data: what --input names, or a folder with the download from the first origin that
    works. ValueError names all that failed."""
    if options.input is not None:
        if not options.input.exists():
            raise ValueError(f"`input` {options.input} does not exist")
        return options.input
    facts, answers, reachable = PUBLIC_DATASETS[dataset], [], None
    home = options.out_dir / "raw" / dataset
    several = len(facts.origins) > 1  # a folder each then: files of two origins must never mix
    places = [(home / _folder_name(o) if several else home, o) for o in facts.origins]
    for folder, origin in sorted(places, key=lambda place: not _is_whole(place[0])):
        try:
            if not origin.is_hub:
                _from_web(origin, folder)
            elif not _is_whole(folder):
                if reachable is None:
                    reachable = hub_answers()
                if not reachable:
                    raise ConnectionError("huggingface.co cannot be reached")
                _from_hub(origin, folder)
        except (DownloadError, ConnectionError, ValueError) as error:
            answer = " ".join(str(error).split())
            tried = answer.partition("; tried ")[2]  # of a download: the address and its answer
            answers.append(tried or f"{origin.where}: {answer}")
            say(answers[-1])
        else:
            tally.sources.append(f"downloaded from {origin.where}")
            return folder
    raise ValueError(
        f"{facts.title} could not be downloaded; tried {'; '.join(answers)}. Run it again to "
        "resume, give a copy with `input` PATH, or prepare generated chats, which "
        "need no download: python data/prepare-chitchat.py"
    )


def _folder_name(origin: Origin) -> str:
    return origin.where.split("://")[-1].strip("/").replace("/", "+")


def _is_whole(folder: Path) -> bool:
    """Whether everything was downloaded into it, and nothing went missing since."""
    try:
        names = (folder / WHOLE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return all((folder / name).is_file() for name in names)


def _from_web(origin: Origin, folder: Path) -> None:
    assert origin.files, f"{origin.where} is no download"
    for name in origin.files:
        path = download((origin.where + name,), folder / name, sha256=origin.sha256.get(name))
        _check(path)
    write_text(folder / WHOLE, "\n".join(origin.files))


def _from_hub(origin: Origin, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            origin.where,
            repo_type="dataset",
            revision=origin.revision,
            allow_patterns=list(origin.files) or ["*.parquet"],
            local_dir=folder,
        )
    except Exception as error:  # many kinds, not all of them documented: the next origin follows
        if isinstance(error, OSError) and error.errno in OUR_FAULT:
            raise
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    files = _plain_files(folder)
    if not files:
        raise ValueError("it has none of the expected files")
    for path in files:
        _check(path)
    write_text(folder / WHOLE, "\n".join(str(path.relative_to(folder)) for path in files))


def _check(path: Path) -> None:
    """Check that the file begins as its name says; else delete it, or it would be found again."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip()
    if path.name.endswith(ARCHIVES):
        try:
            fine = is_archive(path)
        except ValueError:  # cut off in its first block
            fine = False
    elif path.suffix == ".parquet":
        fine = head.startswith(b"PAR1")
    elif path.suffix == ".gz":
        fine = head.startswith(b"\x1f\x8b")
    else:
        fine = bool(head) and not head.lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    if not fine:
        path.unlink()
        raise ValueError(f"{path.name} is damaged, or another page was served in its place")


@contextmanager
def opened(path: Path) -> Iterator[list[Path]]:
    """Every file of a file, a folder or an archive, sorted. Archives are unpacked, also those
    within, and removed again at the end; hidden files are left out."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            yield sorted(_opened(path, Path(temporary)))
        except ValueError as error:
            named = path if path.is_dir() else path.parent
            if temporary not in str(error):
                raise
            raise ValueError(str(error).replace(temporary, str(named))) from None


def _opened(path: Path, temporary: Path, outer: Unpacked | None = None) -> Iterator[Path]:
    """Files, archives among them unpacked below `temporary` as if they were folders there."""
    for file in _plain_files(path):
        if not (file.name.endswith(ARCHIVES) or (file == path and is_archive(file))):
            yield file
            continue
        folder = temporary / (file.relative_to(path) if path.is_dir() else file.name)
        while folder.exists():  # an archive within an archive, unpacked where it lies
            folder = folder.with_name(folder.name + "!")
        yield from _opened(folder, folder, unpack(file, folder, outer))


def _plain_files(path: Path) -> list[Path]:
    """The file itself, or all in the folder that are not hidden."""
    if path.is_file():
        return [path]
    return [file for file in visible_files(path) if file.is_file()]
