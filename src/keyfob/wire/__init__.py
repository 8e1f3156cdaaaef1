"""Protocols without sockets: values and plain functions, importing nothing of ours."""
