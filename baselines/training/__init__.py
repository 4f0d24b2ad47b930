"""Train one model: batches, the step, the loop, its checkpoint, and the measures of error."""
