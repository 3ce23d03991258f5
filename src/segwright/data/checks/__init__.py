"""The parts of the check of a data set: files, pairs, splits and the table of classes; ``check.py`` is their face."""
