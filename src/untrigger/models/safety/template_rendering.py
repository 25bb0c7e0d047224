"""Rendering of untrusted chat templates in a process of its own, bounded in time, memory and length.

A chat template is a program. The sandbox of transformers keeps it from attributes and files, but not from loops within
loops or from ``"x" * 10**12``, and it may do that for some conversations only. So every conversation is rendered there.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits

_LOCK = Lock()
_EXPECTED = "a template for turns of the roles system, user and assistant"
_REMEDY = "do not use this model, or give it its base's tokenizer"


def render_template(
    template: str,
    turns: Sequence[Mapping[str, str]],
    *,
    generation: bool,
    tokens: Mapping[str, Any],
    name: str,
) -> str:
    """Return a conversation as ``apply_chat_template`` of transformers renders it.

    Args:
        template: the Jinja template.
        turns: dicts with ``role`` and ``content``.
        generation: whether the beginning of an answer follows.
        tokens: the special tokens by name, as ``special_tokens_map`` of the tokenizer.
        name: of the model, for messages.

    Raises:
        ModelError: for a template that fails on this conversation.
        UnsafeFileError: for one that takes too long, needs too much memory or renders too much text.
    """
    given = {"template": template, "turns": list(turns), "generation": generation, "tokens": _plain(tokens)}
    with _LOCK:
        answer = _WORKER.answer(json.dumps(given).encode() + b"\n")
    if "text" in answer:
        return str(answer["text"])
    if "error" in answer:
        raise ModelError(
            f"the chat template of {name!r} cannot render a conversation: {answer['error']}", expected=_EXPECTED
        )
    raise UnsafeFileError(
        f"the chat template of {name!r} {answer['unsafe']}",
        expected="a template that only writes turns",
        remedy=_REMEDY,
    )


def _plain(tokens: Mapping[str, Any]) -> dict[str, Any]:
    """Return special tokens as JSON holds them: texts, or lists of texts."""
    return {
        key: [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
        for key, value in tokens.items()
    }


class _Worker:
    """A Python process that renders one conversation a line; started when it is first needed, and again after it was stopped."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one request: a ``text``, an ``error`` of the template, or what is ``unsafe`` about it."""
        process = self._process = self._process or self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            output = process.stdout.readline()
        except BrokenPipeError:
            output = b""
        except BaseException:  # interrupted: what is still on its way belongs to no later request
            self.stop()
            raise
        if output.endswith(b"\n"):
            found: dict[str, Any] = json.loads(output)
            return found
        code = self.stop()
        if code == -getattr(signal, "SIGPROF", 0):
            return {"unsafe": f"did not render a conversation within {limits.TEMPLATE_SECONDS:g} s of computing"}
        return {"unsafe": f"made the process that renders it stop (code {code})"}

    def stop(self) -> int:
        """End the process, if there is one, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with process:  # closes the pipes; a process that waits for a line then ends
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        bounds = (limits.TEMPLATE_SECONDS, limits.TEMPLATE_MEMORY, limits.TEMPLATE_CHARACTERS)
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-c", _PROGRAM, *map(str, bounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


_PROGRAM = """
import json, signal, sys
from transformers.utils.chat_template_utils import render_jinja_template

seconds, memory, characters = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
timed = hasattr(signal, "setitimer")
if timed:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
try:
    import resource
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
except (ImportError, OSError, ValueError):  # not on this system
    pass


def rendered(given):
    try:
        made, _ = render_jinja_template(
            conversations=[given["turns"]],
            chat_template=given["template"],
            add_generation_prompt=given["generation"],
            **given["tokens"],
        )
        text = str(made[0])
    except MemoryError:
        return {"unsafe": f"needs more than {memory / 2**20:.0f} MiB for a conversation"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    if len(text) > characters:
        return {"unsafe": f"makes a text of {len(text):,} characters of a conversation, more than {characters:,}"}
    return {"text": text}


for line in sys.stdin.buffer:
    given = json.loads(line)
    if timed:  # its signal ends the process, also within one long operation
        signal.setitimer(signal.ITIMER_PROF, seconds)
    answer = rendered(given)
    if timed:
        signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\\n")
    sys.stdout.buffer.flush()
"""
_WORKER = _Worker()
atexit.register(_WORKER.stop)
