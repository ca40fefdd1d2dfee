"""The data sets that can be prepared: one file and one entry each."""

from __future__ import annotations

from tools.prepare.release import Release
from tools.prepare.releases import folder, hmdb51, jester, kinetics400, something_v1, something_v2, ucf101

RELEASES: dict[str, Release] = {
    "ucf101": ucf101.RELEASE,
    "hmdb51": hmdb51.RELEASE,
    "kinetics400": kinetics400.RELEASE,
    "something-v1": something_v1.RELEASE,
    "something-v2": something_v2.RELEASE,
    "jester": jester.RELEASE,
    "folder": folder.RELEASE,
}
