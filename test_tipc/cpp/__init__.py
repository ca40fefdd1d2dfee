"""Inference in C++."""
