"""The meter: channels, the recorder that polls them, the trace, and windows of it in joules."""

from passkwh.harness.meter.auto import describe_channels
from passkwh.harness.meter.base import ChannelState, open_meter
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace, net_se_j

__all__ = ["TRACE_SCHEMA", "ChannelState", "Recorder", "Trace", "describe_channels", "net_se_j", "open_meter"]
