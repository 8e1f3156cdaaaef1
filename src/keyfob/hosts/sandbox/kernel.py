"""The system calls that Python does not offer (os.unshare only since 3.12), through the C library."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_FOWNER = 3
CAP_FSETID = 4
CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
CAP_SETPCAP = 8
CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
CAP_SYS_MODULE = 16
CAP_SYS_RAWIO = 17
CAP_SYS_CHROOT = 18
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_SYS_BOOT = 22
CAP_AUDIT_WRITE = 29
CAP_SETFCAP = 31
CAP_PERFMON = 38
CAP_BPF = 39


class Kernel:
    """Each method is the call of the same name and raises OSError as `os` does. Tests hand in one that refuses."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def unshare(self, flags: int) -> None:
        self._check(self._libc.unshare(ctypes.c_int(flags)))

    def setns(self, descriptor: int, kind: int) -> None:
        self._check(self._libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)))

    def mount(self, source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        self._check(
            self._libc.mount(_text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(data)), target
        )

    def prctl(self, option: int, value: int) -> None:
        zero = ctypes.c_ulong(0)
        self._check(self._libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))

    def give_up(self, power: int) -> None:
        """A capability that this process does without from now on (capget(2), version 3: two words of each set)."""
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        words = (ctypes.c_uint32 * 6)()
        self._check(self._libc.capget(header, words))
        for position in (0, 1):  # effective, permitted
            words[3 * (power // 32) + position] &= ~(1 << power % 32)
        self._check(self._libc.capset(header, words))

    @staticmethod
    def _check(result: int, path: str | None = None) -> None:
        if result != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)


def effective_capabilities() -> int:
    """The bit mask of this process, from /proc/self/status; 0 where that cannot be read."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)
