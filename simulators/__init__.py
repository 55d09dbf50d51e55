"""Device physics and the Modbus servers that speak for them; no equation shared with the planner."""
