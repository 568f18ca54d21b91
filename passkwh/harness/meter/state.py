"""What ``bench doctor`` says of a channel."""

from __future__ import annotations

from dataclasses import dataclass

from passkwh.records import ChannelInfo


@dataclass(frozen=True)
class ChannelState:
    """A channel that is possible on this machine."""

    name: str
    provenance: str
    """measured or estimated."""
    state: str
    """``readable``, or why not, in words."""
    advice: str | None = None
    """The command that would give a better one."""
    info: ChannelInfo | None = None
    """What it is, where it is open."""
