"""The endpoint of trained models, as a plain ASGI application. Knows no Ray: tests ask it in their own process."""
