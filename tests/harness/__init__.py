"""Starts real PostgreSQL servers on loopback and compares columnar tables with heap tables."""
