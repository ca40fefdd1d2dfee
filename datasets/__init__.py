"""From a video file or a folder of frames to clips that a model takes; knows nothing of Paddle or of models."""
