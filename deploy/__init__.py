"""From a checkpoint to a certified artefact, and inference from it without `models`, `engine` or `weights`."""
