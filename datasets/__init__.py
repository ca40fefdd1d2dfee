"""From a video file or a folder of frames to clips that a model takes; knows nothing of Paddle or of models."""

from datasets.annotation import Annotation, DataError, Entry, load_annotation, read_class_names
from datasets.dataset import VideoDataset, load_views
from datasets.loader import Batch, ClipLoader

__all__ = [
    "Annotation",
    "Batch",
    "ClipLoader",
    "DataError",
    "Entry",
    "VideoDataset",
    "load_annotation",
    "load_views",
    "read_class_names",
]
