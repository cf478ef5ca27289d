"""Fake external servers on loopback sockets, for tests in process and as processes of their own."""
