"""Bills from interval data, independent of the optimizer: one file per family of charges, and an importer of URDB rates."""
