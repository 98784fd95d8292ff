"""The operating system: environment, processes, atomic files, locks."""
