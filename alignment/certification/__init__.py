"""What this repository vouches for: its own pairs, its data, the known differences of the frameworks."""
