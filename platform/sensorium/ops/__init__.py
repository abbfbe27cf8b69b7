"""Plain functions on tensors that several plugins share. Public.

Imports torch alone.
"""
