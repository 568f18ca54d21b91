"""The data contract: what a run is asked, what it ran on, what each sample was and what it all came to.

Every model is frozen and refuses unknown fields, so that a file read back is exactly what was written. What stands in
files of its own is versioned (``schema_version``): a program reads what older ones wrote, and says of what a newer one
wrote which version it takes. A field that is added has a default, so that older files are read and no identity changes
(:func:`spec_identity`), and raises ``SCHEMA_VERSION``. Units stand in the names: ``_j`` joules, ``_kwh``
kilowatt-hours, ``_w`` watts, ``_s`` seconds, ``_ns`` nanoseconds of this boot's monotonic clock. Whatever could not be
read is ``None`` and says why; it is never 0. Imports nothing of ours.
"""

from __future__ import annotations

from passkwh.records.base import (
    MOST_J,
    ROUNDING_J,
    SCHEMA_VERSION,
    Count,
    Document,
    Joules,
    Nanoseconds,
    Option,
    Provenance,
    Record,
    RecordT,
    RunProvenance,
    SchemaVersion,
    Seconds,
    Share,
    WellFormed,
    content_hash,
    storable,
    well_formed,
)
from passkwh.records.energy import (
    ChannelCheck,
    ChannelInfo,
    ChannelTotal,
    Energy,
    IdleBaseline,
    Window,
)
from passkwh.records.manifest import (
    BenchmarkInfo,
    GpuInfo,
    HostInfo,
    Imported,
    Manifest,
    MeterInfo,
    Session,
)
from passkwh.records.model import (
    ModelInfo,
)
from passkwh.records.sample import (
    Drafts,
    FinishReason,
    Reasoning,
    Sample,
    Verdict,
    sample_key,
)
from passkwh.records.spec import (
    Spec,
    spec_identity,
)
from passkwh.records.summary import (
    Summary,
)

__all__ = [
    "MOST_J",
    "ROUNDING_J",
    "SCHEMA_VERSION",
    "BenchmarkInfo",
    "ChannelCheck",
    "ChannelInfo",
    "ChannelTotal",
    "Count",
    "Document",
    "Drafts",
    "Energy",
    "FinishReason",
    "GpuInfo",
    "HostInfo",
    "IdleBaseline",
    "Imported",
    "Joules",
    "Manifest",
    "MeterInfo",
    "ModelInfo",
    "Nanoseconds",
    "Option",
    "Provenance",
    "Reasoning",
    "Record",
    "RecordT",
    "RunProvenance",
    "Sample",
    "SchemaVersion",
    "Seconds",
    "Session",
    "Share",
    "Spec",
    "Summary",
    "Verdict",
    "WellFormed",
    "Window",
    "content_hash",
    "sample_key",
    "spec_identity",
    "storable",
    "well_formed",
]
