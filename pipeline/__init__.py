"""Everything that touches files, runs and stages."""
