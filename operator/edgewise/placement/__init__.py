"""Pure: which variant of a model, how many times, at which site."""
