"""What ``benchmarks/peers.py`` needs: the two sides of the comparison, the pipe between them, and their networks."""
