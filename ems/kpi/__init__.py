"""Energy, tokens, carbon and cost figures; one formula in one place."""
