"""What train_chatbot.py does: own texts and conversations -> a dataset -> one trained file.

    code = make(config)    # config: ChatbotConfig
    talk(config)

Writes data/chatbot-<name>-train.bin, -val.bin, .json and, while the run goes on, its usual files
beside <name>.pt (see jojo/train/trainer.py); in the end <name>.pt, <name>.jsonl and <name>.png are
left. Texts and conversations together make one ChatML dataset in which the texts are raw documents.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.chat.config import SamplingOptions
from jojo.chat.opened import chat_with, open_model
from jojo.chat.terminal import converse
from jojo.command import say
from jojo.data.bins import Dataset, Manifest, delete_dataset, open_dataset
from jojo.data.contract import NOTHING_HELD_OUT, Tally
from jojo.data.mixture import mix
from jojo.data.own.recipe import RECIPE, FileOptions, conversations
from jojo.data.prepare import prepare
from jojo.files import sync_folder
from jojo.models import checkpoint, pretrained
from jojo.train import finetune
from jojo.train.config import ChatbotConfig, TrainConfig
from jojo.train.plan import MANY_EPOCHS
from jojo.train.run import check_earlier_run, train

if TYPE_CHECKING:
    from jojo.text.template import Conversation

FEW = 20  # of fewer a tenth is one or two: too few to judge by, and missed by who wrote them
VAL_FRACTION = 0.1  # of what somebody has; the usual twentieth of 60 conversations would be three

LEAST_TOKENS = 32  # less is a line or two: a slip, as a file of another name
LITTLE_TOKENS = 10_000  # some 40 kB of text
LITTLE_STEPS = 20  # at the rates of fine-tuning hardly move a model
COPIES_SHARE = 0.1  # of the records
TEXT_TIMES = 10  # as many tokens of text as of conversations
BY_HEART_EPOCHS = 10

DIALOGUES = ("dialogue", "names")  # kinds of files that may be meant as text: plays, interviews


def make(config: ChatbotConfig) -> int:
    """Prepare, train and leave one file; returns the exit code."""
    config.check_files()
    files = checkpoint.RunFiles(config.save_path.parent, config.save_path.stem)
    if config.has_data:
        check_place(config.save_path)
    if is_done(config, files):
        return 0
    check_source(config)
    context = pretrained.read_config(config.model).block_size
    try:
        data = learn_from(config)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped before training; the same command begins again") from None
    settings = settings_for(config, data.dataset, context)
    for warning in warnings(config, data, settings):
        say(f"warning: {warning}")
    if code := train(settings, "train_chatbot.py", config, closing=False):
        return code
    say(settle(files, config.save_path))
    return 0


def talk(config: ChatbotConfig) -> None:
    """A chat in the terminal with what is at --save_path."""
    opened = open_model(str(config.save_path), config.device, config.dtype)
    converse(chat_with(opened, SamplingOptions(), None, system=config.system))


# ---------------------------------------------------------------- before anything is done


def check_place(path: Path) -> None:
    """ValueError where the model could not be written in the end."""
    if path.is_dir():
        raise ValueError(f"`save_path` {path} is a folder: name a file, e.g. {path / 'bot.pt'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"`save_path` {path}: {path.parent} cannot be written to ({error.strerror}): choose "
            "another place"
        ) from None


def check_source(config: ChatbotConfig) -> None:
    """ValueError for a --model that is none, or that would be overwritten."""
    for source in pretrained.chain(config.model):
        if Path(source).expanduser().resolve() == config.save_path.resolve():
            raise ValueError(
                f"`save_path` {config.save_path} is the `model` to start from, or its base: choose "
                "another name"
            )


def is_done(config: ChatbotConfig, files: checkpoint.RunFiles) -> bool:
    """Whether nothing is left to train; ValueError where the person has to say what is meant."""
    path = config.save_path
    for step_file in (*islice(files.milestones(), 1), files.best):
        check_ours(step_file, config.training())
    unfinished = files.unfinished()
    if config.overwrite and config.has_data:
        return False
    if not unfinished and (finished := settle(files, path)):  # what a kill left to do
        say(finished)
    if not config.has_data:
        if not path.exists():
            raise ValueError(
                f"{path} is not trained {'to the end' if unfinished else 'yet'}: give what it "
                "learns from, `text_file` FILE or `conversation_file` FILE"
            )
        return True
    if unfinished:
        check_earlier_run(config.training(), files, "`save_path`")
    elif path.exists() and not config.resume:
        raise ValueError(
            f"{path} is trained already: `interactive` without files talks to it, `overwrite` "
            "trains it anew, or choose another `save_path`"
        )
    elif path.exists():
        say(f"{path} is trained already")
        return True
    return False


def check_ours(path: Path, settings: TrainConfig) -> None:
    """ValueError where a file of weights is of a run of train.py that has the same name."""
    if not path.exists():
        return
    try:
        content = checkpoint.load(path)
    except ValueError:  # damaged; whoever needs it will say so
        return
    if (dataset := content.get("dataset")) != settings.dataset:
        raise ValueError(
            f"{path} is of another run (dataset {dataset}): choose another `save_path`"
        )


# ---------------------------------------------------------------- the data


@dataclass(frozen=True)
class Learned:
    """What there is to learn from, as one dataset and where it came from."""

    dataset: Dataset
    texts: Manifest | None
    chats: Manifest | None

    @property
    def parts(self) -> list[Manifest]:
        return [part for part in (self.texts, self.chats) if part]


def learn_from(config: ChatbotConfig) -> Learned:
    """Prepare the files of the person, together if there are both kinds."""
    name = config.training().data_name
    both = bool(config.text_file and config.conversation_file)
    names = [f"{kind}-of-{name}" if both else name for kind in ("text", "chats")]
    texts = chats = None
    try:
        if config.text_file:
            texts = _prepare(config, names[0], "text", config.text_file, _documents)
        if config.conversation_file:
            chats = _prepare(config, names[1], "chatml", config.conversation_file, _conversations)
        if both:
            mix(names, None, name, config.data_dir, seed=config.seed)
    finally:
        for part in names if both else ():
            delete_dataset(part, config.data_dir)
    return Learned(open_dataset(name, config.data_dir), texts, chats)


def _prepare(
    config: ChatbotConfig, name: str, template: str, paths: tuple[Path, ...], read
) -> Manifest:
    options = FileOptions(
        paths=paths,
        name=name,
        seed=config.seed,
        out_dir=config.data_dir,
        val_fraction=VAL_FRACTION if config.val_fraction is None else config.val_fraction,
        **({} if template == "text" else {"me": config.me, "system": config.system}),
    )
    if config.val_fraction is None:
        options.few = FEW
    recipe = replace(RECIPE, name=name, template=template, conversations=read)
    manifest = prepare(recipe, options)
    if (tokens := manifest.tokens["train"]) < LEAST_TOKENS:
        delete_dataset(name, config.data_dir)
        raise ValueError(
            f"{', '.join(map(str, paths))}: {tokens} tokens are too few to learn from, at least "
            f"{LEAST_TOKENS} are needed: is it the right file?"
        )
    return manifest


def _documents(options: FileOptions, tally: Tally) -> Iterator[Conversation]:
    with options.found as found:
        for file in found.files:
            if file.kind in DIALOGUES:
                file.kind = "text"
                say(
                    f"warning: {file.name} is a dialogue, learned here as a text to write; with "
                    "`conversation_file` it is learned to answer"
                )
            elif not file.is_text:
                raise ValueError(
                    f"`text_file` {file.name} is no plain text ({file.kind}): conversations are "
                    "learned with `conversation_file`"
                )
        yield from conversations(options, tally)


def _conversations(options: FileOptions, tally: Tally) -> Iterator[Conversation]:
    with options.found as found:
        if found.template == "text":
            damaged = any(file.path.suffix in (".json", ".jsonl") for file in found.files)
            raise ValueError(
                f"`conversation_file` {found} is plain text, in which nobody speaks"
                f"{' (or JSON that is damaged)' if damaged else ''}: a text is learned with "
                "`text_file`"
            )
        yield from conversations(options, tally)
        if tally.records_in and tally.records_in == sum(tally.dropped.values()):
            reason = next(iter(tally.dropped))
            where = f" ({tally.first[reason]})" if reason in tally.first else ""
            raise ValueError(
                f"`conversation_file` {found} holds no conversation that can be learned: {reason}"
                f'{where}; write pairs like [{{"user": "Hi!", "bot": "Hello."}}]'
            )


def warnings(config: ChatbotConfig, data: Learned, settings: TrainConfig) -> list[str]:
    """What the person should know before the training, a line each."""
    found = []
    tokens = data.dataset.manifest.tokens["train"]
    steps = finetune.steps_of(settings, data.dataset)
    if steps < LITTLE_STEPS:
        found.append(
            f"{tokens:,} tokens make {steps} step{'s' * (steps > 1)}: expect next to no change; "
            "give more to learn, or more `epochs`"
        )
    elif tokens < LITTLE_TOKENS:
        found.append(
            f"{tokens:,} tokens are little: expect it to take on the tone and single sentences, "
            f"not what they tell; {LITTLE_TOKENS:,} and more teach that"
        )
    for part in data.parts:
        copies = sum(n for reason, n in part.dropped.items() if "duplicate" in reason)
        if copies >= COPIES_SHARE * part.records_in:
            found.append(
                f"{copies:,} of {part.records_in:,} {'texts' if part is data.texts else 'chats'} "
                "repeat others and were left out: more of the same teaches nothing"
            )
    if data.texts and data.chats:
        text, chat = (part.tokens["train"] for part in data.parts)
        if text > TEXT_TIMES * chat:
            found.append(
                f"the text has {text / chat:,.0f} times the tokens of the conversations: expect it "
                "to write on rather than to answer; give more conversations, or less text"
            )
    if BY_HEART_EPOCHS < config.epochs < MANY_EPOCHS:  # which warns from there on
        found.append(
            f"`epochs` {config.epochs:g}: what is read so often is learned by heart and said again "
            "word for word; 1 to 3 are usual"
        )
    return found


# ---------------------------------------------------------------- the training


def settings_for(config: ChatbotConfig, dataset: Dataset, context: int) -> TrainConfig:
    """The run's settings: as fit the data, and where something is held out, with patience."""
    patience = config.patience
    if not dataset.manifest.holds_out:
        if patience is not None:
            raise ValueError(
                f"`patience` {patience}: {NOTHING_HELD_OUT} of so little to judge by; leave it "
                f"out, or give `val_fraction` {VAL_FRACTION}"
            )
    elif patience is None:
        patience = finetune.EVALUATIONS
    settings = finetune.fit(config.training(patience=patience), dataset, context)
    if not dataset.manifest.holds_out:  # one look, at the end
        settings = replace(settings, eval_interval=2 * finetune.steps_of(settings, dataset))
    save_interval = max(2 * finetune.steps_of(settings, dataset), settings.save_interval)
    return replace(settings, save_interval=save_interval)  # no step files but the last one


def settle(files: checkpoint.RunFiles, path: Path) -> str | None:
    """Make one file of a run that is done: its best weights, or its last where nothing is held out.

    Returns what to say, or None where no such run is. The file that stays is moved last: killed in
    between, the next call ends the same.
    """
    steps = list(files.milestones())
    best = [files.best] if files.best.exists() else []
    if not steps and not best:
        return None
    train_hash, val_hash = checkpoint.load((best + steps)[0])["data_hash"].split("-")
    keep = best[0] if best and (train_hash != val_hash or not steps) else steps[0]
    content = checkpoint.load(keep)
    for other in best + steps:
        if other != keep:
            other.unlink()
    os.replace(keep, path)
    sync_folder(path.parent)
    val_loss = content["metrics"]["val_loss"]
    what = f"an adapter of {content['base']['source']}" if "adapter" in content else "the model"
    which = f"best, validation loss {val_loss:.4f}" if keep in best else "last"
    return (
        f"saved {path}: {what} of step {content['step']:,} ({which}); talk to it: python "
        f"train_chatbot.py --save_path {shlex.quote(str(path))} --interactive"
    )
