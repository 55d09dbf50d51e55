"""The append-only, hash-chained record of what control saw, decided and wrote."""
