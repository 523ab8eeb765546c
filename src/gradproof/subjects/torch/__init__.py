"""Functions and modules of PyTorch."""
