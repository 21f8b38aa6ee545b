"""Pure: admission (law S), the size of the cloud side, what may leave a site."""
