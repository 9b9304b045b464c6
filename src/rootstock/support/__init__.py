"""General helpers, independent of Rootstock: processes, files, progress, suggestions."""
