"""Names of sources whose frames come by themselves. Standard library alone."""

from __future__ import annotations

from runtime.errors import UserError

ADDRESSES = ("rtsp://", "rtsps://", "http://", "https://")


def is_live(name: str) -> bool:
    """Whether frames come by themselves: from the camera of a number, or from an address."""
    return name.isdigit() or name.lower().startswith(ADDRESSES)


def check_allowed(name: str, allow_network: bool) -> None:
    """Raises UserError for an address, unless the network is allowed."""
    if name.lower().startswith(ADDRESSES) and not allow_network:
        raise UserError(f"--video {name} is an address: --allow_network lets this program connect to it")
