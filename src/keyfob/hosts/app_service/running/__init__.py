"""Sites that run: their program in a sandbox, and the public name that leads to it."""
