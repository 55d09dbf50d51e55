"""A simulated OpenADR 3 head-end (VTN): what tests and the demo talk to."""
