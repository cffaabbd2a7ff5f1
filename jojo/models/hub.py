"""Models of huggingface.co: fetched once, into the cache that all its programs share.

folder = fetch("openai-community/gpt2")
"""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors

from jojo.command import say
from jojo.files import is_plain_name, read_json
from jojo.models.names import CHECKPOINT, ENDINGS, SAFETENSORS
from jojo.web.download import OUR_FAULT, hub_answers

FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer.json", "vocab.json", "added_tokens.json", "tokenizer_config.json"),
)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def fetch(hub_id: str) -> Path:
    """The folder of a hub model, from the cache or downloaded into it."""
    cached = _cached(hub_id)
    if cached is not None:
        return cached
    site = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE or not hub_answers():
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{site} cannot be reached"
        raise ValueError(
            f"{hub_id} is not on this machine and {why}: download {', '.join(FILES[:2])} and "
            f"tokenizer.json of {site}/{hub_id} elsewhere into a folder, and give its path instead "
            "of the name"
        )
    say(f"downloading {hub_id} from {site}, once, to {constants.HF_HUB_CACHE}")
    try:
        # no files of folders within: other formats are kept there
        folder = huggingface_hub.snapshot_download(
            hub_id, allow_patterns=list(FILES), ignore_patterns=["*/*"]
        )
    except errors.GatedRepoError:
        raise ValueError(
            f"{hub_id} wants its terms accepted: do so at {site}/{hub_id}, then run hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ValueError(
            f"{site} has no model {hub_id}, or it is private: check the name, or run hf auth login"
        ) from None
    except Exception as error:  # many kinds, not all of them documented
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in OUR_FAULT:
            raise
        answer = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{hub_id} could not be downloaded ({type(error).__name__}: {answer}): run it again "
            "to go on where it stopped, or give the path of a folder with it"
        ) from error
    return Path(folder)


def _cached(hub_id: str) -> Path | None:
    """Where the cache has a whole copy; one that was interrupted does not count."""
    config = huggingface_hub.try_to_load_from_cache(hub_id, "config.json")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        weight_files(folder)
    except ValueError:
        return None
    named = any((folder / name).exists() for name in ("tokenizer.json", "vocab.json"))
    return folder if named else None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder; ValueError where one is missing or all are pickled."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not (folder / INDEX).exists():
        unread = ENDINGS.keys() - {CHECKPOINT, SAFETENSORS}
        others = sorted(p for p in folder.glob("*") if p.suffix in unread)
        only = f", only {others[0].name}: {ENDINGS[others[0].suffix]}" if others else ""
        raise ValueError(
            f"{folder} has no {WEIGHTS}{only}; transformers writes one: "
            "AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)"
        )
    places = read_json(folder / INDEX).get("weight_map")
    places = list(places.values()) if isinstance(places, dict) else []
    if not places or not all(isinstance(name, str) for name in places):
        raise ValueError(f"{folder / INDEX} names no files: copy it again")
    names = sorted(set(places))
    for name in names:
        if not is_plain_name(name) or not name.endswith(".safetensors"):
            raise ValueError(
                f"{folder / INDEX} names {name!r}, which is not a safetensors file beside it"
            )
        if not (folder / name).exists():
            raise ValueError(f"{folder} lacks {name}, which {INDEX} names: copy it again")
    return [folder / name for name in names]
