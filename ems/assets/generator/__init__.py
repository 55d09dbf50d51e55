"""A machine that makes electricity from fuel: standby set, gas engine, turbine, fuel cell, reactor."""
