"""The way of a video to the network, function by function, on both sides."""
