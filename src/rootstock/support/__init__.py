"""General helpers that know nothing of Rootstock: processes, files, progress, suggestions."""
