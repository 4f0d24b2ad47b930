"""What one choice costs: the same runs without it, and trained models on faulty recordings."""
