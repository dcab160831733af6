"""The version of this package, for whatever notes what it was made with."""

__all__ = ["__version__"]

__version__ = "0.1.0"
