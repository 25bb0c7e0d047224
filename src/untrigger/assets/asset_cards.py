"""Model cards and data cards of assets."""

from __future__ import annotations

from untrigger.assets.catalogue import Asset


def model_card(entry: Asset, *, changes: str) -> str:
    """Return the card of a model in Markdown, with a header that hubs read: licence, source packages, and changes."""
    sources = "\n".join(f"- `{a.package}=={a.version}`, file `{a.file}`, SHA-256 `{a.sha256}`" for a in entry.archives)
    return (
        f"---\nlicense: {entry.licence.lower()}\nlibrary_name: transformers\n---\n\n# {entry.name}\n\n"
        f"{entry.description}.\n\n## Source\n\nThe weights travel inside registry packages; none of their code was "
        f"run.\n\n{sources}\n\n## Changes\n\n{changes}\n\n## Licence\n\n{entry.licence} (weights).\n"
    )


def data_card(entry: Asset, *, body: str, sizes: dict[str, dict[str, int]], hashes: dict[str, str]) -> str:
    """Return the card of a data set in Markdown: source, licence, and size, class counts and content hash of each split."""
    sources = "\n".join(f"- `{a.package}=={a.version}`, file `{a.file}`, SHA-256 `{a.sha256}`" for a in entry.archives)
    rows = "\n".join(
        f"| {split} | {sum(counts.values())} | {', '.join(f'{k} {v}' for k, v in counts.items())} | `{hashes[split]}` |"
        for split, counts in sizes.items()
    )
    return (
        f"# {entry.name}\n\n{entry.description}.\n\n{body}\n\n## Splits\n\n| split | rows | classes | content hash |\n"
        f"|---|---|---|---|\n{rows}\n\nNo text of one split is in another (case and white space folded).\n\n"
        f"## Source\n\n{sources}\n\n## Licence\n\n{entry.licence}\n"
    )
