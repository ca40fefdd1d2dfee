"""From a recipe and a data set to a trained, tested checkpoint. Importing this package imports no framework."""
