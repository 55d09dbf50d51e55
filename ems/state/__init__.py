"""What is true now: the frozen image of one cycle and the state estimated from it."""
