"""Content of a message -> text the steps can use."""
