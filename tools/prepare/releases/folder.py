"""A person's own videos, in one folder for each class, in an archive or not."""

from __future__ import annotations

from tools.prepare.release import TAR, VIDEO_FILE, Part, Release, in_class_folder

RELEASE = Release(
    list_name="folder",
    videos=(Part("the videos", "<class>/<video>", rf".+\.(rar|zip|{TAR})", VIDEO_FILE, is_mixed=True),),
    texts=(),
    annotate=None,
    place=in_class_folder,
    preset="finetune_tsm_mobilenet_v2",
)
