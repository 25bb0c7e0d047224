"""Data sets of the Hugging Face hub, loaded with ``datasets`` and without code from the hub."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from untrigger.core.errors import DataError
from untrigger.data.saved import table_of
from untrigger.data.tables import Table

_PREFIX = "hf:"


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` names a data set of the hub."""
    return name.startswith(_PREFIX)


def read_hub(
    name: str, *, split: str | None = None, offline: bool = False, revision: str | None = None
) -> dict[str, Table]:
    """Return the splits of ``hf:NAME[/CONFIG]`` as tables, of the hub's ``revision`` if one is given.

    ``hf:a/b`` is tried as the data set ``a/b`` and then as the config ``b`` of the data set ``a``.

    Raises:
        DataError: if ``datasets`` is missing, the set cannot be reached or does not exist.
    """
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{name} needs `datasets`", remedy="pip install datasets, or give a file") from error
    failures, offline = [], offline or not _is_reachable()
    for repo, config in _candidates(name):
        try:
            with _offline(datasets, on=offline):
                loaded = datasets.load_dataset(repo, config, revision=revision, **_safety(datasets))
            return _tables(name, loaded=loaded, split=split)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001  the hub client has another tree of errors in each version
            failures.append(f"{repo}: {type(error).__name__}: {error}".splitlines()[0])
    raise DataError(
        f"{name} could not be loaded ({'; '.join(failures)})",
        expected="hf:NAME or hf:NAME/CONFIG of a data set without code",
        remedy="check name and network; offline, give a file or an embedded set (`untrigger list data`)",
    )


def _is_reachable() -> bool:
    """Return whether the hub answers; without a network `datasets` tries for most of a minute before it reads its cache."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception:  # noqa: BLE001  the HTTP client changes with the version, and its errors with it
        return False
    return True


def _candidates(name: str) -> list[tuple[str, str | None]]:
    parts = name.removeprefix(_PREFIX).strip("/").split("/")
    if not all(parts) or len(parts) > 3:
        raise DataError(f"{name!r} is not a hub name", expected="hf:NAME or hf:NAME/CONFIG, as hf:stanfordnlp/sst2")
    if len(parts) == 3:
        return [(f"{parts[0]}/{parts[1]}", parts[2])]
    return [("/".join(parts), None)] + ([(parts[0], parts[1])] if len(parts) == 2 else [])


def _safety(datasets: Any) -> dict[str, bool]:
    """Return ``trust_remote_code=False`` for versions that have this parameter."""
    parameters = inspect.signature(datasets.load_dataset).parameters
    return {"trust_remote_code": False} if "trust_remote_code" in parameters else {}


def _tables(name: str, *, loaded: Any, split: str | None) -> dict[str, Table]:
    chosen = {key: part for key, part in loaded.items() if split is None or key == split} or dict(loaded)
    return {str(key): table_of(part, origin=f"{name} ({key})") for key, part in chosen.items()}


@contextmanager
def _offline(datasets: Any, *, on: bool) -> Iterator[None]:
    """Let the hub client use only its cache inside the block, if ``on``."""
    import huggingface_hub.constants as hub

    before = datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = (True, True) if on else before
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = before
