"""fastopt.tune against its rivals: see bench/README.md."""
