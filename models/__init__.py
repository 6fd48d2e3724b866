"""Everything that touches a network; knows nothing of files, runs or stages."""
