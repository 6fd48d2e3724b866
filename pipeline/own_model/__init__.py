"""Models that users bring: read, checked and loaded, or made by a function of theirs."""
