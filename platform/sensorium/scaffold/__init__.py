"""New plugins, from templates that are plugins themselves."""
