"""One folder a channel: its routes (or poller), and ``normalise``, pure: raw update -> envelopes."""
