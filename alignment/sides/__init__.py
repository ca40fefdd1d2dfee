"""The two sides of a comparison: models of two frameworks behind one interface."""
