"""Removal of weights, global and local."""
