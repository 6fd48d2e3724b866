"""From raw files to arrays a model can eat."""
