"""Packed inference on NVIDIA GPUs: kernels compiled by NVRTC, an engine that orders their launches.

:mod:`hwbnn.infer.cuda.engine` needs no CUDA package; :mod:`hwbnn.infer.cuda.driver` does (extra ``cuda``).
"""
