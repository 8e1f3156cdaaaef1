"""The services behind doors that an identity opens. Each folder knows its own service and no other."""
