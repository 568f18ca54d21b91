"""The two works that the program carries out, held against themselves: their printed tables as data, and their claims."""
