"""From a trained network to one that runs fast: exact rewrites, export, benchmark."""
