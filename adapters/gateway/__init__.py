"""The register map served to a substation gateway (RTU)."""
