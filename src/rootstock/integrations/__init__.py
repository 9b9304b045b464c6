"""Other programs that Rootstock's models work in: one file each, made of public names only."""
