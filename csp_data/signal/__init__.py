"""Arrays in, arrays out: filters, resampling, rotations, alignment."""
