"""Regions as people read them. Pure."""

from __future__ import annotations

import re

_WORDS = re.compile(
    r"usgov|usdod|us|uk|uae|euap|northeast|northwest|southeast|north|south|east|west|central|brazil|australia|canada|"
    r"india|asia|france|germany|japan|jio|korea|europe|norway|qatar|africa|sweden|switzerland|israel|italy|malaysia|"
    r"poland|taiwan|china|virginia|iowa|texas|arizona|\d+"
)
_UPPER = {"us": "US", "uk": "UK", "uae": "UAE", "usgov": "USGov", "usdod": "USDoD", "euap": "EUAP"}


def display_name(location: str) -> str:
    """`northcentralus` → `North Central US`; a name with words unknown here only gets its capital."""
    words: list[str] = _WORDS.findall(location)
    if "".join(words) != location:
        return location.capitalize()
    return " ".join(_UPPER.get(word, word.capitalize()) for word in words)
