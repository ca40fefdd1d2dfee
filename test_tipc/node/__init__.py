"""Inference in Node."""
