"""Who decides, at each value that a trial reports, whether it goes on."""
