"""How fast training steps and streams are, as ratios to a peer in the same process."""
