"""fastopt against its rivals: see bench/README.md."""
