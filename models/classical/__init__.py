"""Classical models: fitted by scikit-learn, kept as plain arrays, written as C."""
