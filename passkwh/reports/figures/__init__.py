"""The report's figures, each defined once (Altair) for page, SVG and PNG."""
