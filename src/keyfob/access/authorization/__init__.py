"""The Microsoft.Authorization namespace: what its requests mean (operations) and how it writes its answers (shapes)."""
