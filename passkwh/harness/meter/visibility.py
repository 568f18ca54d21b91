"""Which channels see the model at work: only those count.

A run's energy is that of the model. Where the model is a server's (``openai:``), a channel that sees only this run's
own processes, or only this machine while the server is on another, would give the energy of waiting for answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.records import ChannelInfo, MeterInfo, ModelInfo

PLACES = {
    "process": "in this run's processes",
    "machine": "in another program on this machine",
    "elsewhere": "on another machine",
}
SCOPES = {
    "processes": "only this run's own processes",
    "machine": "only this machine",
    "external": "what it is attached to",
}
_SEES = {"processes": ("process",), "machine": ("process", "machine"), "external": ("process", "machine", "elsewhere")}


def visible_channels(channels: Sequence[ChannelInfo], model: ModelInfo) -> tuple[ChannelInfo, ...]:
    """The channels, not counted where they do not see the model, or are GPUs that hold none of it."""
    return tuple(
        channel
        if model.place in _SEES[channel.scope] and not _is_idle_gpu(channel, model)
        else channel.model_copy(update={"counted": False})
        for channel in channels
    )


def _is_idle_gpu(channel: ChannelInfo, model: ModelInfo) -> bool:
    """A GPU of which it is known that no weight lies on it; channels are matched by the driver's UUID."""
    kind, _, uuid = channel.name.partition(":")
    return kind == "gpu" and model.place == "process" and model.gpus is not None and uuid not in model.gpus


def why_no_energy(meter: MeterInfo, model: ModelInfo) -> str:
    """Why a run without a counted channel has no energy."""
    if model.place == "process" or not meter.channels:
        return "no channel was metered"
    return f"no channel of --meter {meter.name} sees the model, which runs {PLACES[model.place]} ({model.device})"


def visibility_notes(meter: MeterInfo, model: ModelInfo) -> Iterator[str]:
    """What a reader must know of the energy of a model that runs outside of the run."""
    if model.place == "process":
        idle = [channel.name for channel in meter.channels if _is_idle_gpu(channel, model)]
        if idle:
            yield f"{', '.join(idle)} held none of the model's weights: their energy is recorded and not counted"
        return
    for channel in meter.channels:
        if model.place not in _SEES[channel.scope]:
            yield (
                f"{channel.name} sees {SCOPES[channel.scope]} and the model runs {PLACES[model.place]} "
                f"({model.device}): its energy is recorded and not counted; "
                + (
                    "use a meter that reads devices (see `bench doctor`)"
                    if model.place == "machine"
                    else "attach a meter to that machine (--meter http://...), or run `bench run` there"
                )
            )
        elif channel.scope == "machine" and channel.counted:
            yield (
                f"{channel.name} counts all that ran on this machine: the server at {model.device.partition(':')[2]}, "
                "whatever else it was asked, and this program"
            )
