"""The root and its layout, config files and clusters. Runs no other program."""
