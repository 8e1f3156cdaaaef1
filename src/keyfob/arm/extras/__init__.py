"""What a platform engineer expects beside resources: locks, tags, features, management groups, the activity log."""
