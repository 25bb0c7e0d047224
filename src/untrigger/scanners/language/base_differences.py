"""What differs between a model's files and its base's without running either: evidence, never a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from untrigger.core.scan_result import Evidence
from untrigger.models.safety.limits import MAX_JSON
from untrigger.models.safety.model_folder import ModelFolder

LISTED = 8
TEMPLATE_FILE, TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer_config.json"


def base_differences(folder: ModelFolder, base: ModelFolder) -> list[Evidence]:
    """Return a figure for each kind of difference between a model or adapter and its base; none for a kind without any."""
    return [*_template(folder, base), *_tokens(folder, base), *_adapter(folder)]


def _template(folder: ModelFolder, base: ModelFolder) -> Iterator[Evidence]:
    own, other = _chat_template(folder), _chat_template(base)
    if own is not None and own != other:
        yield Evidence("chat_template_differs", 1.0, "chat template")


def _tokens(folder: ModelFolder, base: ModelFolder) -> Iterator[Evidence]:
    """Yield the tokens that the model's tokenizer adds to the base's or numbers in another way."""
    own, other = _added_tokens(folder), _added_tokens(base)
    new = sorted(text for text, number in own.items() if other.get(text) != number)
    if new:
        yield Evidence("added_tokens", float(len(new)), "tokenizer", words=new[:LISTED])


def _adapter(folder: ModelFolder) -> Iterator[Evidence]:
    """Yield the modules that an adapter saves whole, and the layers that it targets."""
    if folder.kind != "adapter":
        return
    for key, name in (("modules_to_save", "modules_saved_whole"), ("target_modules", "adapter_targets")):
        found = folder.config.get(key)
        names = sorted(map(str, found)) if isinstance(found, list) else [found] if isinstance(found, str) else []
        if names:
            yield Evidence(name, float(len(names)), "adapter config", words=names[:LISTED])


def _chat_template(folder: ModelFolder) -> str | None:
    """Return the chat template in a folder's files, None where they hold none."""
    file = folder.path / TEMPLATE_FILE
    if file.is_file() and file.stat().st_size <= MAX_JSON:
        return file.read_text(encoding="utf-8", errors="replace")
    found = _json(folder, TOKENIZER_CONFIG).get("chat_template")
    return json.dumps(found) if isinstance(found, list | dict) else found if isinstance(found, str) else None


def _added_tokens(folder: ModelFolder) -> dict[str, int]:
    entries = _json(folder, "tokenizer.json").get("added_tokens")
    if not isinstance(entries, list):
        return {}
    return {
        str(one["content"]): int(one["id"])
        for one in entries
        if isinstance(one, dict) and isinstance(one.get("id"), int) and "content" in one
    }


def _json(folder: ModelFolder, name: str) -> dict[str, Any]:
    """Return what a JSON file of the checked copy holds; nothing where it is missing or no object."""
    file = folder.path / name
    if not file.is_file() or file.stat().st_size > MAX_JSON:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
