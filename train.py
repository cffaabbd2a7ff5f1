"""Train a model on a prepared dataset or on your own chats.

python train.py --dataset chat --max_iters 10000

python train.py config/laptop.toml --data_path my-chats.zip notes.jsonl --me Anna

python train.py --run_name run1 --data_path interviews.json --init_from gpt2

Without --dataset and --data_path, a single JSON file in datasets/ is taken to go on from gpt2 with;
if there is none, chitchat. Writes models/<run><step>.pt at every --save_interval and at the end,
models/<run>-best.pt, models/<run>.jsonl and models/<run>.png. Ctrl+C saves; --resume goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jojo.command import parse, run, say
from jojo.train.config import DEFAULT_DATASET, TrainConfig

USUAL_BASE = "gpt2"  # what chats in datasets/ are learned on


def main() -> int:
    config = with_datasets(parse(TrainConfig, None, __doc__))
    if config.data_path:
        from jojo.data.own.recipe import check_own_name

        check_own_name(config.data_name, config.data_dir)
    else:
        for name in ("me", "template"):
            if getattr(config, name):
                raise ValueError(f"--{name} is for your own chats: give them with --data_path")
    from jojo.models.checkpoint import RunFiles
    from jojo.train.run import check_earlier_run, train

    files = RunFiles(config.out_dir, config.run)
    if (done := check_earlier_run(config, files)) is not None:
        return done
    if config.dataset is None and not config.data_path:
        check_default(config.data_dir)
    if config.base:  # what is wrong with it shows before anything is prepared
        from jojo.models.pretrained import read_config

        read_config(config.base)
    if config.data_path:
        prepare_own(config, resumes=config.resume and files.unfinished())
    config = replace(config, dataset=config.data_name)  # a run's settings name it
    return train(config, "train.py")


def with_datasets(config: TrainConfig) -> TrainConfig:
    """Where no data is named: with the only JSON of datasets/, if there is one."""
    from jojo.data.own.speakers import DATASETS_FOLDER, jsons

    found = jsons(DATASETS_FOLDER) if config.dataset is None and not config.data_path else []
    if not found:
        return config
    if len(found) > 1:
        from jojo.data.own.found import shown

        raise ValueError(
            f"{DATASETS_FOLDER} holds {len(found)} JSON files ({shown([p.name for p in found])}): "
            f"name one with --data_path, or a prepared dataset, e.g. --dataset {DEFAULT_DATASET}"
        )
    base = config.init_from or (None if config.new_shape else USUAL_BASE)
    config = replace(config, data_path=(found[0],), init_from=base)
    how = f"learned by {base} (--init_from scratch: by a new model)"
    say(
        f"chats    {found[0]} (--dataset {DEFAULT_DATASET}: the usual data instead), "
        f"{how if config.base else 'learned by a new model'}"
    )
    return config


def check_default(data_dir: Path) -> None:
    """ValueError where no data is named and what is usual is not prepared."""
    from jojo.data.bins import manifest_path, recipe_command
    from jojo.data.own.speakers import DATASETS_FOLDER

    if not manifest_path(DEFAULT_DATASET, data_dir).exists():
        raise ValueError(
            f"dataset {DEFAULT_DATASET!r} is not in {data_dir}: {recipe_command(DEFAULT_DATASET)}, "
            f"or put one JSON of chats into {DATASETS_FOLDER}, or name your own with --data_path"
        )


def prepare_own(config: TrainConfig, resumes: bool) -> None:
    """Prepare --data_path, unless the run goes on with what was made of it."""
    from jojo.data.own import recipe, speakers
    from jojo.data.prepare import prepare

    name = config.data_name
    mine = {"paths": config.data_path, "me": config.me, "name": name}
    options = recipe.FileOptions(**mine, seed=config.seed, out_dir=config.data_dir)
    with options.found as found:
        usual = speakers.usual_template(found)
        if usual == "text" and config.template:
            raise ValueError(
                f"--template {config.template} is for chats, {found} is plain text: leave it out"
            )
        template = config.template or usual
        if resumes and recipe.is_prepared(options, template):
            return
        try:
            prepare(speakers.RECIPE if template == "speaker" else recipe.RECIPE, options)
        except KeyboardInterrupt:
            again = f"stopped: nothing of {name} was written; the same command prepares it again"
            raise KeyboardInterrupt(again) from None


if __name__ == "__main__":
    run(main)
