"""What somebody meant who wrote a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The word that resembles it most, as difflib sees it; None: none does. cutoff: 0 takes any word, 1 only itself."""
    from difflib import get_close_matches  # noqa: PLC0415  # a process whose policy is right does not need it

    found = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None
