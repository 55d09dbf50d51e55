"""One folder per kind of asset: what it is (model), what it may do now (envelope), how it enters the plan (block)."""
