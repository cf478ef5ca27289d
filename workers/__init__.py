"""Celery: the application, the one base task, the tasks, the sweeper."""
