"""Many specs: a study file expanded, ordered as an experiment, and carried out run by run, here or on a Ray cluster."""
