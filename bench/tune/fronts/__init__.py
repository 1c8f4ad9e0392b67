"""Several objectives, and constraints known after the evaluation: see bench/README.md."""
