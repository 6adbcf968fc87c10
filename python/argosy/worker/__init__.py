"""What runs inside a model's own process. Any CPython 3.9+ with numpy; nothing of the native core."""
