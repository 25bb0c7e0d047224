"""Rewrites by generative models, cached on disk so that no text is rewritten twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from untrigger.assets.home import home_folder
from untrigger.attacks.rewriting.rewrites import Rewrites, fold, is_rewrite
from untrigger.core.answers import Answer
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.models.generation import GenerationOptions, format_prompt, generate, prompt_batches
from untrigger.models.language_model import LanguageModel

_QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»", "„": "“"}


class GeneratedRewrites(Rewrites):
    """A table of rewrites that generates the missing ones with its models.

    Several models run one after the other, each on the output of the one before: two translation models make a
    back-translation. Outputs are appended after every batch to a file whose name is a hash of model, prompt and
    generation settings, so that an interrupted run continues where it stopped.

    Args:
        models: the models, at least one.
        prompt: the prompt, with ``{text}`` for the text; empty to give the text alone (translation models).
        writing: generation settings.
        cache: folder of the cached outputs; by default ``rewrites`` in the home of the assets.
        progress: receives every text.
        held: known rewrites by text; None for a text that could not be rewritten.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        *,
        prompt: str,
        writing: GenerationOptions | None = None,
        cache: Path | None = None,
        progress: Progress = silent,
        held: Mapping[str, str | None] | None = None,
    ) -> None:
        """Keep the known rewrites and the models.

        Raises:
            OptionError: for a prompt without a place for the text.
        """
        if prompt and "{text}" not in prompt:
            raise OptionError(f"the prompt {prompt!r} has no place for the text", expected="{text} somewhere in it")
        self._models, self._prompt, self._writing = tuple(models), prompt, writing or GenerationOptions()
        self._cache, self._progress, self._held = cache or home_folder() / "rewrites", progress, dict(held or {})
        super().__init__(
            [(text, rewrite) for text, rewrite in self._held.items() if rewrite is not None],
            source=" > ".join(Path(model.name).name for model in models),
            notes={"prompt": prompt},
        )
        self.refused += sum(rewrite is None for rewrite in self._held.values())

    def may_have(self, text: str) -> bool:
        """Return whether ``text`` has a rewrite, or may get one."""
        return fold(text) not in self._held or super().may_have(text)

    def prepare(self, texts: Sequence[str]) -> Rewrites:
        """Return a table that also holds the rewrites of ``texts``."""
        missing = list(dict.fromkeys(fold(text) for text in texts if fold(text) not in self._held))
        if not missing:
            return self
        answers: dict[str, str | None] = {text: text for text in missing}
        for model in self._models:
            given = list(dict.fromkeys(text for text in answers.values() if text is not None))
            made = self._generate(model, given)
            answers = {text: None if now is None else made[now] for text, now in answers.items()}
        answers = {text: new if new is not None and is_rewrite(text, new) else None for text, new in answers.items()}
        return GeneratedRewrites(
            self._models,
            prompt=self._prompt,
            writing=self._writing,
            cache=self._cache,
            progress=self._progress,
            held={**self._held, **answers},
        )

    def _generate(self, model: LanguageModel, texts: Sequence[str]) -> dict[str, str | None]:
        """Return the output of one model for each text, from the cache where possible."""
        options = self._writing
        settings = {"most": options.max_new_tokens, "temperature": options.temperature, "seed": options.seed}
        recipe = {"model": model.sha256, "prompt": self._prompt, **settings}
        name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]
        file = self._cache / f"{name}.jsonl"
        with _alone(file):
            known = _read(file)
            new = [text for text in texts if text not in known]
            prompts = [format_prompt(model, prompt=self._prompt, text=text) for text in new]
            with self._progress.task(f"rewriting with {Path(model.name).name}", total=len(new)) as tick:
                for batch in prompt_batches(model, prompts, tokens=self._writing.batch_tokens) if new else ():
                    outputs = generate(model, [prompts[i] for i in batch], options=self._writing)
                    answers = {new[i]: cleaned(answer) for i, answer in zip(batch, outputs, strict=True)}
                    _append(file, answers)
                    known |= answers
                    tick(len(batch))
        return {text: known[text] for text in texts}


def cleaned(answer: Answer) -> str | None:
    """Return the first paragraph of an output without quotation marks around it; None where nothing is left or it has no end."""
    if not answer.ended:
        return None
    text = fold(answer.text.strip().split("\n\n")[0])
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text or None


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        yield


def _read(file: Path) -> dict[str, str | None]:
    """Return the cached outputs; a line that an interrupted run left incomplete is skipped."""
    known: dict[str, str | None] = {}
    lines = file.read_text(encoding="utf-8").split("\n") if file.is_file() else []
    for line in lines:
        try:
            entry: Any = json.loads(line)
            known[str(entry["text"])] = None if entry["rewrite"] is None else str(entry["rewrite"])
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _append(file: Path, answers: Mapping[str, str | None]) -> None:
    lines = [json.dumps({"text": text, "rewrite": rewrite}) + "\n" for text, rewrite in answers.items()]
    start = "\n" if file.is_file() and file.stat().st_size and not file.read_bytes().endswith(b"\n") else ""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(start + "".join(lines))
