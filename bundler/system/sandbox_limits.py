"""Run by the host Python: limit the memory, the processes, the files and the time of a sandbox.

Loaded by ``sandbox_child.py`` beside it, which ``exec``s this file. Standard library only. The kernel
limits all processes together only in a cgroup, which most users cannot create; so they are counted.
"""

import os
import resource
import time

# The kernel does not assign smaller process ids again (RESERVED_PIDS of kernel/pid.c).
PIDS_NOT_REUSED = 300


def set_limits(options):
    """Set the limits of each process; `Limits` compares their sums."""
    # Zero would still start a `|program` of core_pattern, as root on the host; one does not (core(5)).
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))  # pip's own is lower
    for kind, wanted in ((resource.RLIMIT_CORE, 1), (resource.RLIMIT_FSIZE, options["scratch"])):
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, limit))


def limit_processes(count):
    """Limit the processes of this namespace by its largest process id, which is its own since Linux 6.14.

    Without it, and before it has an effect, `watch` counts them.
    """
    release = [int(part) for part in os.uname().release.split("-")[0].split(".")[:2]]
    if release >= [6, 14]:
        with open("/proc/sys/kernel/pid_max", "wb", buffering=0) as stream:
            stream.write(str(count + PIDS_NOT_REUSED).encode("ascii"))


def children(pid):
    """Yield the descendants of a process, also those that another thread than its first has started."""
    listed = []
    try:
        for thread in os.listdir("/proc/{}/task".format(pid)):
            # In bytes: the codec of a text is a module, which may be out of sight by now.
            with open("/proc/{}/task/{}/children".format(pid, thread), "rb") as stream:
                listed += [int(text) for text in stream.read().split()]
    except OSError:
        pass
    for child in listed:
        yield child
        yield from children(child)


def processes(options):
    """Return the processes of the sandbox without the first one; none if its /proc cannot be mounted."""
    if not options["pid"]:
        return list(children(os.getpid()))
    if not options["proc"]:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def memory(pids):
    """Return the bytes of memory that processes do not share (proc_pid_statm(5))."""
    pages = 0
    for pid in pids:
        try:
            with open("/proc/{}/statm".format(pid), "rb") as stream:
                fields = stream.read().split()
        except OSError:
            continue
        pages += int(fields[1]) - int(fields[2])
    return pages * resource.getpagesize()


def disk_usage(folders):
    """Return the bytes on disk of all files below some directories."""
    total = 0
    waiting = list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total


class Limits:
    """The limits that no kernel interface sets for all processes together, as any user."""

    def __init__(self, options):
        self.options = options
        self.free = self.free_space()
        self.end = time.monotonic() + options["seconds"]

    def free_space(self):
        """Return the free bytes of the file systems of the writable directories."""
        found = [os.statvfs(folder) for folder in self.options["writable"]]
        return [status.f_bavail * status.f_frsize for status in found]

    def exceeded(self):
        """Return a text about a limit that is exceeded, or None."""
        options = self.options
        if time.monotonic() > self.end:
            return "more than {} seconds".format(options["seconds"])
        running = processes(options)
        if len(running) > options["processes"]:
            return "more than {} processes".format(options["processes"])
        if memory(running) > options["memory"]:
            return "more than {} bytes of memory".format(options["memory"])
        # A walk takes time: only if the file system has lost as much as the limit since the last one.
        free = self.free_space()
        if any(before - now > options["scratch"] // 4 for before, now in zip(self.free, free, strict=True)):
            self.free = free
            if disk_usage(options["writable"]) > options["scratch"]:
                return "more than {} bytes written".format(options["scratch"])
        return None
