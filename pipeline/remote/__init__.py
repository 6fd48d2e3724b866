"""Sources at URLs: looked at, copied into the work directory, and read from there."""
