"""Function apps: sites whose program is the embedded host, and what Resource Manager tells about their functions."""
