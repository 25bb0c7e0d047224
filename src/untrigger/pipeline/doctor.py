"""Whether untrigger can run here: packages, machine, assets, network, speed, and missing extras."""

from __future__ import annotations

import importlib
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from untrigger import assets
from untrigger.core.errors import UserError
from untrigger.pipeline.requests import DEFAULT_TEACHER
from untrigger.runtime import machine

State = Literal["ok", "note", "missing"]

NAMED = ("torch", "transformers", "peft")
"""Packages that are always listed; of the others only those that do not fit."""
SECONDS = 2.0
"""How long the speed of matrix products is measured."""
REFERENCE_RATE, REFERENCE_SCAN_S = 1042.0, 60.0
"""Billions of operations a second (``docs/results/index.md#the-machine``), and seconds of a scan of a benign MiniLM-L6
at that speed (``docs/results/scan.md#time``)."""
SCAN_MEMORY = 3 * 2**30
"""Bytes that a scan of a MiniLM takes, and some more (``docs/results/scan.md#time``: 2.1 GB)."""
TIMEOUT_S = 5.0
_GB = 10**9


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        topic: ``software``, ``machine``, ``assets``, ``network``, ``speed`` or ``extras``.
        name: what it is.
        state: ``ok``; ``note`` for what a user should know; ``missing`` for what untrigger cannot run without.
        text: what was found.
        remedy: what the user can do, empty where nothing is needed.
    """

    topic: str
    name: str
    state: State
    text: str
    remedy: str = ""


def examine(*, offline: bool = False, seconds: float = SECONDS) -> list[Check]:
    """Return all checks of this installation and machine.

    Args:
        offline: do not try the network.
        seconds: how long the speed of matrix products is measured.
    """
    software = list(_software())
    works = all(one.state != "missing" for one in software)
    network = [] if offline else [*_network()]
    speed = [_speed(seconds)] if works else []
    return [*software, *_machine(with_torch=works), *_assets(), *network, *speed, *_extras()]


def usable(checks: list[Check]) -> bool:
    """Return whether nothing is missing that untrigger needs."""
    return all(one.state != "missing" for one in checks)


def _software() -> Iterator[Check]:
    """Yield Python, untrigger and the packages that it needs, each with the versions that are allowed."""
    about = _distribution()
    python = platform.python_version()
    allowed = str(about["Requires-Python"]) if about and "Requires-Python" in about else ""
    fits = SpecifierSet(allowed).contains(python, prereleases=True)
    yield Check(
        "software",
        "python",
        "ok" if fits else "missing",
        _against(python, allowed),
        "" if fits else "install another Python",
    )
    from untrigger import __version__

    yield Check("software", "untrigger", "ok", __version__)
    for need in _requirements(extra=""):
        found = _package(need)
        if found.state != "ok" or need.name in NAMED:
            yield found


def _package(need: Requirement) -> Check:
    """Return whether a package is installed in an allowed version, and, for those that are named, whether it can be imported."""
    remedy = f'pip install "{need.name}{need.specifier}"'
    try:
        version = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return Check("software", need.name, "missing", f"not installed; needed: {need.specifier or 'any'}", remedy)
    if not need.specifier.contains(version, prereleases=True):
        return Check("software", need.name, "missing", _against(version, str(need.specifier)), remedy)
    if need.name in NAMED:
        try:
            importlib.import_module(need.name)
        except Exception as error:  # noqa: BLE001  # a broken installation raises anything
            first = str(error).strip().partition("\n")[0][:200]
            return Check(
                "software",
                need.name,
                "missing",
                f"{version} cannot be imported: {first}",
                f"{remedy} --force-reinstall",
            )
    return Check("software", need.name, "ok", _against(version, str(need.specifier)))


def _against(version: str, allowed: str) -> str:
    return f"{version} (allowed: {allowed})" if allowed else version


def _distribution() -> metadata.PackageMetadata | None:
    """Return what the installed package states of itself, None where untrigger runs from a folder alone."""
    try:
        return metadata.metadata("untrigger")
    except metadata.PackageNotFoundError:
        return None


def _requirements(*, extra: str) -> list[Requirement]:
    """Return the packages that untrigger needs, or those of one of its extras alone."""
    about = _distribution()
    found = []
    for line in (about.get_all("Requires-Dist") or []) if about else []:
        try:
            need = Requirement(line)
        except InvalidRequirement:  # pragma: no cover  # written by the build
            continue
        plain = need.marker is None or need.marker.evaluate({"extra": ""})
        if plain if not extra else not plain and need.marker is not None and need.marker.evaluate({"extra": extra}):
            found.append(need)
    return found


def _machine(*, with_torch: bool) -> Iterator[Check]:
    """Yield cores and threads, devices, free memory and free disk."""
    cores = machine.usable_cores()
    if with_torch:
        import torch

        found = [
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.backends.mps.is_available() else []),
        ]
        yield Check("machine", "devices", "ok", ", ".join(found))
        yield Check("machine", "threads", "ok", f"{torch.get_num_threads()} on {cores} cores")
    memory = machine.free_memory()
    if memory is not None:
        little = memory < SCAN_MEMORY
        remedy = "give fewer rows (--clean-rows), or close other programs" if little else ""
        yield Check("machine", "memory", "note" if little else "ok", f"{memory / _GB:.1f} GB free", remedy)
    for name, folder in (
        ("disk of assets", assets.home_folder()),
        ("disk of temporary files", Path(tempfile.gettempdir())),
    ):
        free = machine.free_disk(folder)
        little = free < 2 * _GB
        yield Check(
            "machine",
            name,
            "note" if little else "ok",
            f"{free / _GB:.1f} GB free at {folder}",
            "free some space" if little else "",
        )


def _assets() -> Iterator[Check]:
    """Yield the folder of the assets and the state of each."""
    yield Check("assets", "folder", "ok", str(assets.home_folder()))
    listing = assets.listing()
    ready = [one.name for one in listing if one.state == "ready"]
    yield Check("assets", "ready", "ok", ", ".join(ready) or "none")
    for one in listing:
        if one.state == "partial" or (one.name == DEFAULT_TEACHER and one.state == "absent"):
            yield Check("assets", one.name, "note", one.state, f"untrigger assets fetch {one.name}")


def _network() -> Iterator[Check]:
    """Yield whether the package index and the hub answer."""
    yield _answer("package index", _ask_index, "check the network, or point pip at another index (PIP_INDEX_URL)")
    yield _answer("hub", _ask_hub, "check the network and HF_ENDPOINT; folders and assets work without it")


def _answer(name: str, ask: Callable[[], str], remedy: str) -> Check:
    try:
        return Check("network", name, "ok", ask())
    except (OSError, UserError, ValueError) as error:  # requests raises OSErrors
        return Check("network", name, "note", f"no answer ({type(error).__name__})", remedy)


def _ask_index() -> str:
    """Look up the archives of the default teacher where pip is configured to look."""
    from untrigger.assets.archive_index import user_index

    archive = assets.asset(DEFAULT_TEACHER).archives[0]
    links = user_index(archive.registry).links(archive)
    return f"answers, and holds {archive.package}" if links else f"answers, but does not hold {archive.package}"


def _ask_hub() -> str:
    from huggingface_hub import constants

    import requests

    requests.head(constants.ENDPOINT, timeout=TIMEOUT_S, allow_redirects=False).raise_for_status()
    return f"answers at {constants.ENDPOINT}"


def _speed(seconds: float) -> Check:
    """Return the rate of matrix products, and an estimate of the time of a scan."""
    rate = machine.product_rate(seconds=seconds)
    scan = REFERENCE_SCAN_S * max(1.0, REFERENCE_RATE / rate)
    text = f"{rate:.0f} GFLOP/s; estimate: a scan of a MiniLM takes at most about {_minutes(scan)} on this CPU"
    load = machine.load()
    if load > machine.usable_cores():
        return Check("speed", "matrix products", "note", f"{text}, beside other programs (load {load:.0f})")
    return Check("speed", "matrix products", "ok", text)


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _extras() -> Iterator[Check]:
    """Yield for each extra whether its packages are installed."""
    about = _distribution()
    for extra in (about.get_all("Provides-Extra") or []) if about else []:
        lacking = [need.name for need in _requirements(extra=extra) if _package(need).state != "ok"]
        if lacking:
            yield Check(
                "extras", extra, "note", f"not installed: {', '.join(lacking)}", f'pip install "untrigger[{extra}]"'
            )
        else:
            yield Check("extras", extra, "ok", "installed")
