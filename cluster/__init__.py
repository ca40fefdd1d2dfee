"""Work on more videos than one machine holds: Ray spreads it, retries it and moves its data."""
