"""The operating system: environment, processes, atomic files and locks; Linux only."""
