"""Train a model on a prepared dataset.

python train.py --dataset chat --max_iters 10000

python train.py config/laptop.toml --dataset chat --time_budget 10m

python train.py config/laptop.toml --data_path my-chats.zip notes.jsonl --me Anna

Writes models/<run><step>.pt at every --save_interval and at the end, models/<run>-best.pt,
models/<run>.jsonl and models/<run>.png. Ctrl+C saves; --resume goes on.
"""

from __future__ import annotations

import shlex
import sys

from jojo.command import parse, run
from jojo.config import TrainConfig


def main() -> int:
    config = parse(TrainConfig, None, __doc__)
    from jojo.trainer import train

    if config.data_path:
        prepare_own(config)
    return train(config, shlex.join(["python", "train.py", *sys.argv[1:]]))


def prepare_own(config: TrainConfig) -> None:
    from jojo.ownchats import RECIPE, FileOptions
    from jojo.prepare import prepare

    mine = {"paths": config.data_path, "me": config.me, "name": config.dataset}
    prepare(RECIPE, FileOptions(**mine, seed=config.seed, out_dir=config.data_dir))


if __name__ == "__main__":
    run(main)
