"""Inference by Paddle Lite."""
