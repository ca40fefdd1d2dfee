"""From a video file or a folder of frames to clips that a model takes; knows nothing of Paddle or of models."""

from datasets.annotation import Annotation, Entry, load_annotation, plain_name, read_class_names, unlabeled
from datasets.dataset import Dataset, VideoDataset, load_views
from datasets.labels import KNOWN_LABELS, known_class_names
from datasets.loader import Batch, ClipLoader
from datasets.media import find_videos
from datasets.targets import DataError, Labels, Targets, View

__all__ = [
    "KNOWN_LABELS",
    "Annotation",
    "Batch",
    "ClipLoader",
    "DataError",
    "Dataset",
    "Entry",
    "Labels",
    "Targets",
    "VideoDataset",
    "View",
    "find_videos",
    "known_class_names",
    "load_annotation",
    "load_views",
    "plain_name",
    "read_class_names",
    "unlabeled",
]
