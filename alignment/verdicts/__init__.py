"""How far two arrays are apart, and whether that is a bug or rounding."""
