"""Templates of plugins; each is a whole one."""
