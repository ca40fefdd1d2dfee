"""PyTorch twins of the networks in `models/`: file for file the same classes, attributes and arguments.

The twin of a family is the file of the same name here as the family's in `models/`. Its function `build(variant,
num_classes, num_frames, **options)` takes plain values and returns the network with random weights; the options are
those of the family, by the names of their flags.

They are written for reading, from the papers and the authors' repositories, in the plainest operations that PyTorch
has. Nothing here imports anything of ActionAlign, so that a mistake cannot be shared by import.
"""
