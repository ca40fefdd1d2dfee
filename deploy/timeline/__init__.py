"""Labels over the time of long videos: windows of their frames, what a network says of each, and files that show it."""
