"""For whoever adds a data set: a folder to start from, and checks of card, reader and recordings."""
