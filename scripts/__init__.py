"""What maintainers run: the icon, the version, and what a release is made of. Nothing here is shipped."""
