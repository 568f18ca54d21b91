"""BigCodeBench: 1,140 programming tasks over 139 libraries, each with unit tests (Zhuo et al., arXiv 2406.15877)."""
