"""Programs of hosts that the server itself starts: in a sandbox of the host, watched, restarted, with a log."""
