"""Documents as knowledge: files and pages are read into passages that say where they stand.

``folder`` and ``web`` find them, ``sandbox`` has each one read in a bounded child process by the parser of its type,
``chunks`` cuts what was read into passages, ``importing`` puts them into SQL.
"""
