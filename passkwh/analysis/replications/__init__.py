"""The two works that the program carries out, held against themselves: printed tables as data, and claims."""
