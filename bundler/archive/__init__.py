"""Formats of archives: zip, wheel, tar and their compression."""
