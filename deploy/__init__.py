"""From a checkpoint to a certified artifact, and inference from it without `models`, `engine` or `weights`."""
