"""Regions as people read them. Pure."""

from __future__ import annotations

import re

_WORDS = re.compile(
    r"usgov|usdod|us|uk|uae|euap|north|south|east|west|central|brazil|australia|canada|india|asia|france|germany|"
    r"japan|jio|korea|europe|norway|qatar|africa|sweden|switzerland|israel|italy|malaysia|poland|taiwan|china|"
    r"virginia|iowa|texas|arizona|\d+"
)
_UPPER = {"us": "US", "uk": "UK", "uae": "UAE", "usgov": "USGov", "usdod": "USDoD", "euap": "EUAP"}


def display_name(location: str) -> str:
    """`northcentralus` → `North Central US`; a name with words unknown here only gets its capital."""
    words: list[str] = _WORDS.findall(location)
    if "".join(words) != location:
        return location.capitalize()
    shown = " ".join(_UPPER.get(word, word.capitalize()) for word in words)
    return (
        shown.replace("South East Asia", "Southeast Asia")
        .replace("Australia South East", "Australia Southeast")
        .replace("Germany North East", "Germany Northeast")
    )
