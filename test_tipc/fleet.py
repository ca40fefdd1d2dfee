"""Trains on several nodes that are all this machine: a launcher of Paddle for each, which meet on the loopback address.

python -m test_tipc.fleet --nodes 2 --log_dir DIR -- train.py --preset demo_tsn ...

On several machines each of them runs the launcher itself, as this command prints it, with the address of one of them.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from runtime import command
from runtime.errors import UserError
from test_tipc.processes import contained

ADDRESS = "127.0.0.1"
_ENDING = 10.0  # seconds that the launchers may take to end their processes


class NodeError(UserError):
    """A node has ended with an error; the others have been ended."""


def main(argv: Sequence[str] | None = None) -> None:
    """Starts the nodes and waits for them; the first that fails ends all."""
    parser = command.parser(__doc__)
    parser.add_argument("--nodes", type=command.positive, default=2, help="launchers")
    parser.add_argument("--nproc_per_node", type=command.positive, default=1, help="processes of each, on CPU")
    parser.add_argument("--log_dir", type=Path, required=True, help="folder for a folder of logs of each node")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- SCRIPT ...", help="what each process runs")
    args = parser.parse_args(argv)
    script = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not script:
        raise NodeError("there is nothing to run: -- train.py --preset ...")
    master = f"{ADDRESS}:{_free_port()}"
    with contextlib.ExitStack() as stack:
        nodes = []
        for node in range(args.nodes):
            launcher = [
                sys.executable, "-m", "paddle.distributed.launch", "--nnodes", str(args.nodes), "--master", master,
                "--nproc_per_node", str(args.nproc_per_node), "--log_dir", str(args.log_dir / f"node_{node}"), *script,
            ]  # fmt: skip
            command.say(f"$ {shlex.join(launcher)}")
            nodes.append(stack.enter_context(contained(launcher, _environment())))
        try:
            _wait(nodes)
        finally:
            _end(nodes)
    command.say(f"{args.nodes} nodes ended with 0")


def _wait(nodes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Waits until all have ended; raises NodeError as soon as one has failed."""
    while any(process.poll() is None for process in nodes) or any(process.returncode for process in nodes):
        for number, process in enumerate(nodes):
            if process.poll():
                raise NodeError(f"node {number} of {len(nodes)} ended with exit code {process.returncode}")
        time.sleep(0.2)


def _end(nodes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks all launchers to end, and gives them time; what is left then is killed as their contexts end."""
    for process in nodes:
        process.terminate()
    deadline = time.monotonic() + _ENDING
    for process in nodes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _environment() -> dict[str, str]:
    """Has the launchers meet here and nowhere else: on the loopback address, which no proxy can lead to.

    The launcher replaces that address by the host's unless POD_IP is set. Behind a proxy it would wait for ever.
    """
    direct = ",".join(filter(None, (urllib.request.getproxies_environment().get("no"), ADDRESS)))
    return {"POD_IP": ADDRESS, "NO_PROXY": direct, "no_proxy": direct}


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    with command.clear_errors():
        main()
