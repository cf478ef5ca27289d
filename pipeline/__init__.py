"""What an answer is. Knows neither Celery nor an HTTP framework; runs in-process too."""
