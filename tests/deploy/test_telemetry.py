"""Nothing leaves the machine: no host is looked up, and nothing is written but the caches that README names."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.engines import ENGINES
from deploy.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
# Everything that the product can import and that is somebody else's.
IMPORTS = (
    *(f"from deploy.engines import import_quietly; import_quietly({kind.package!r})" for kind in ENGINES.values()),
    "from deploy.engines import import_quietly; import_quietly('onnxruntime.quantization.shape_inference')",
    "from deploy.engines import import_quietly; import_quietly('onnx')",
    "import paddle2onnx", "import cv2, av, simplejpeg, PIL.Image, safetensors.numpy, tqdm",
    "from runtime import preparation; preparation.prepare('cpu', 1)", "import torch", "import reprod_log",
    "import starlette.applications, uvicorn", "from matplotlib.backends.backend_agg import FigureCanvasAgg",
)  # fmt: skip
CACHES = re.findall(r"`~/([^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))
# Variables that would change what is tested.
SWITCHES = {
    "CI",
    "TF_BUILD",
    "JENKINS_URL",
    "ORT_DISABLE_TELEMETRY",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "MPLCONFIGDIR",
}
# Stands between a process and the C library: every lookup and every connection to a network is written down.
WATCHER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
static void note(const char *what, const char *name) {
    FILE *file = fopen(getenv("WATCHED"), "a");
    if (file) { fprintf(file, "%s %s\n", what, name ? name : ""); fclose(file); }
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    note("lookup", node);
    return EAI_FAIL;
}
struct hostent *gethostbyname(const char *name) { note("lookup", name); return NULL; }
int connect(int fd, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6) { note("connection", ""); return -1; }
    return real(fd, address, length);
}
"""


@pytest.fixture(scope="module")
def watcher(tmp_path_factory):
    """A library to preload, or the path of nothing where there is no compiler."""
    folder = tmp_path_factory.mktemp("watcher")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler for the library that watches lookups")
    (folder / "watcher.c").write_text(WATCHER)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", folder / "watcher.so", folder / "watcher.c", "-ldl"], check=True
    )
    return folder / "watcher.so"


def watch(watcher, tmp_path, code, **variables):
    """(what was looked up, what was written into the home folder) by a process that runs `code` and waits a moment."""
    home, log = tmp_path / "home", tmp_path / "watched"
    home.mkdir()
    log.touch()
    env = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    env |= {"HOME": str(home), "LD_PRELOAD": str(watcher), "WATCHED": str(log), **variables}
    code = f"{code}\nimport time; time.sleep(0.5)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir()]
    return log.read_text().splitlines(), written


@pytest.mark.parametrize("code", IMPORTS)
def test_an_import_looks_up_no_host_and_writes_nothing_but_named_caches(watcher, tmp_path, code):
    if "paddle2onnx" in code and importlib.util.find_spec("paddle2onnx") is None:
        pytest.skip("paddle2onnx is not installed")
    looked_up, written = watch(watcher, tmp_path, code)
    assert not looked_up
    assert not [name for name in written if not name.startswith(tuple(CACHES))]


def test_an_engine_that_computes_sends_nothing(watcher, tmp_path, exported):
    code = f"""
import numpy as np
from deploy.engines import ENGINES, open_engine
for name in ENGINES:
    engine = open_engine(name, {str(exported)!r}, threads=1)
    shape = [n if isinstance(n, int) else 1 for n in engine.signature.inputs[0].shape]
    engine(np.zeros(shape, np.float32))
"""
    looked_up, written = watch(watcher, tmp_path, code)
    assert not looked_up
    assert not [name for name in written if not name.startswith(tuple(CACHES))]


@pytest.mark.whole
def test_conversions_send_nothing(watcher, tmp_path):
    """MNN's console script would install a client that does."""
    forms = [name for name, kind in FORMATS.items() if not kind.lack]
    code = f"""
from pathlib import Path
from deploy.signature import Signature
from deploy.writers import write_graph
from models import create_model
model = create_model("tsn_tiny", num_classes=8, num_frames=2)
model.eval()
for form in {forms}:
    write_graph(form, model, Signature.of_clips((2, 3, 32, 32)), Path({str(tmp_path)!r}))
"""
    looked_up, written = watch(watcher, tmp_path, code)
    assert not looked_up
    assert not [name for name in written if not name.startswith(tuple(CACHES))]


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_the_watch_sees_what_would_happen_otherwise(watcher, tmp_path, package):
    """As they come, the one keeps a number of the device, the other looks up a host."""
    if package == "onnxruntime" and sys.version_info < (3, 11):
        pytest.skip("the last ONNX Runtime for Python 3.10 keeps no number of the device")
    looked_up, written = watch(watcher, tmp_path, f"import {package}")
    assert looked_up or [name for name in written if not name.startswith(tuple(CACHES))]
