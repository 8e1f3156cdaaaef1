"""The four clouds: names, audiences, host names, and what is available where."""
