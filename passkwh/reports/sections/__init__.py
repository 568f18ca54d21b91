"""The report's sections, one file each: evidence in, blocks out."""
