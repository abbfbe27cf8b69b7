"""What a plugin implements, and the data that passes between plugins."""
