"""Conversion to TFLite, and the runtimes that prove it: LiteRT and TFLite Micro."""
