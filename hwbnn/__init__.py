"""Binarized, ternary and low-bit networks on FPGAs: generate, simulate, estimate."""
