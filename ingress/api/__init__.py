"""The JSON API beside the channels: administration."""
