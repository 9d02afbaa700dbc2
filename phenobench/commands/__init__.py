"""The commands, by what they do; each imports what it needs when it is called, so that help stays quick."""
