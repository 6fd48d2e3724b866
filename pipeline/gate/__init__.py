"""The export gate: what a model must prove before it is handed over."""
