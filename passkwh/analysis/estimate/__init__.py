"""What a model costs to run, from its architecture and the device alone (section 3.6 of the thesis)."""
