"""One of each thing that pass@kWh takes from other packages."""
