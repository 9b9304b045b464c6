"""One model in one worker: how to start it, its process, and the session that copies share."""
