"""``harness publish`` and ``harness verify``: a study as a folder for an archive or a hub, and the check of one."""
