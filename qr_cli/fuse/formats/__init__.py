"""Readers and writers of rasters, one format a file."""
