"""One module a format of raw data."""
