"""From a video file or a folder of frames to clips that a model takes; knows nothing of Paddle or of models."""

from datasets.annotation import Annotation, DataError, Entry, load_annotation, plain_name, read_class_names, unlabelled
from datasets.dataset import VideoDataset, load_views
from datasets.labels import KNOWN_LABELS, known_class_names
from datasets.loader import Batch, ClipLoader

__all__ = [
    "KNOWN_LABELS",
    "Annotation",
    "Batch",
    "ClipLoader",
    "DataError",
    "Entry",
    "VideoDataset",
    "known_class_names",
    "load_annotation",
    "load_views",
    "plain_name",
    "read_class_names",
    "unlabelled",
]
