"""Proof that a Paddle model equals a PyTorch one."""
