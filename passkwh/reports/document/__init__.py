"""The report a researcher hands in: what was found in words, tables and figures, and what to doubt."""
