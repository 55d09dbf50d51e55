"""The point of connection: limits, ramp, demand intervals."""
