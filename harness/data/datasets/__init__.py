"""One folder per dataset, and the layouts of users' own folders."""
