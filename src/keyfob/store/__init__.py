"""Durable state behind one port: SQLite by default, PostgreSQL when several nodes share."""
