"""The four clouds, from package data that `tools/make_data.py` generates."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import msgspec

from keyfob.clouds.cloud import Cloud


def parse_clouds(data: bytes) -> Mapping[str, Cloud]:
    """Name → cloud, in the order of the file (the public cloud first), of a JSON array of clouds."""
    return {cloud.name: cloud for cloud in msgspec.json.decode(data, type=list[Cloud])}


def load_clouds() -> Mapping[str, Cloud]:
    """Reads package data each time: call once and keep the answer."""
    return parse_clouds(files("keyfob.clouds").joinpath("data/clouds.json").read_bytes())
