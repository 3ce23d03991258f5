"""Networks rewritten for speed: what is found in them, what is done, and what each step gains on a machine."""
