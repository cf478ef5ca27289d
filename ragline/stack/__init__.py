"""The embedded stack: every part on this machine, supervised by one command."""
