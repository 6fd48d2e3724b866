"""Where many trials run."""
