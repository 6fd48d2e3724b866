"""One module a family of networks."""
