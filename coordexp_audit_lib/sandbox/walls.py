"""The walls around a target's process, as far as the system gives them, from inside that process and before it runs
anything of the target's: namespaces with a file system that is read-only but for its scratch and a network of its own,
a filter of system calls, and Landlock. What can't be had is left out, and which walls stand is told.

Standard library only, Python 3.10 and later: it runs in the audit's interpreter and in the target's. Outside Linux no
wall stands.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import signal
import struct
import sys
from collections.abc import Iterator
from typing import NoReturn

STANDING = "AUDIT_WALLS"  # the environment's word for the walls that stand, from the process to what it executes
PRIVILEGES, CALLS, WRITES, READS = "privileges", "calls", "writes", "reads"
MOUNTS, NETWORK, MEMORY = "mounts", "network", "memory"
PROCESSES, GROUP = "processes", "group"
TOLD = {
    PRIVILEGES: "no new privileges",
    CALLS: "no system call on other processes (seccomp)",
    WRITES: "writes to its scratch only (Landlock)",
    READS: "reads the tree, its interpreter and the system only (Landlock)",
    MOUNTS: "all else read-only (mount namespace)",
    NETWORK: "loopback of its own only (network namespace)",
    MEMORY: "shared memory of its own (IPC namespace)",
    PROCESSES: "sees and signals its own processes only (PID namespace)",
    GROUP: "memory and processes held to their limits by the kernel (control group)",
}

KNOWN_AS = "AUDIT_KNOWN_AS"  # the environment's word for what those outside call a process
LINUX = sys.platform == "linux"
SET_PDEATHSIG = 1
SET_DUMPABLE, SET_SECCOMP, CAPBSET_DROP, SET_NO_NEW_PRIVS = 4, 22, 24, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
WRITING = 0b1_1111_1111_0010  # write a file, remove and make entries of every kind; not execute and not read
OF_FILES = 1 << 1 | 1 << 2 | 1 << 14  # of these rights, those that a single file can give: write, read and truncate
REFER = 1 << 13  # move from folder to folder
READING = 1 << 2 | 1 << 3  # read a file, list a folder
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")  # shm: semaphores
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
ANY_NEW = 0x7E020000  # every flag of clone that makes a namespace
HERE = ~99  # AT_FDCWD
BIND, RECURSIVE, PRIVATE, NO_SUID_DEV, NO_EXEC = 0x1000, 0x4000, 0x40000, 0x6, 0x8
MOUNT_SETATTR, AT_RECURSIVE, READ_ONLY = 442, 0x8000, 1
SHARED_MEMORY = 512 << 20  # bytes of the target's own /dev/shm
KEPT_CAPABILITIES = 0b110  # of root: to read and write what belongs to others, within the other walls
KEPT_TO_FORK = KEPT_CAPABILITIES | 1 << 8 | 1 << 21  # and to give what it forks a file system of its own
KEYS = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gcloud", ".password-store")
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/proc", "/sys", *DEVICES)
SYSTEM_FILES = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "passwd", "group", "nsswitch.conf"),
    *("hosts", "host.conf", "gai.conf", "resolv.conf", "protocols", "services", "mime.types", "os-release", "fonts"),
    *("debian_version", "alternatives", "ssl/certs", "ssl/openssl.cnf", "pki/tls", "ca-certificates", "gitconfig"),
)
# System calls by number on x86-64 and on arm64; None: it has none.
REFUSED = {  # they reach other processes, keys, mounts or the machine, or hold memory that no limit sees
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272)},
    **{"pidfd_getfd": (438, 438), "process_madvise": (440, 440), "add_key": (248, 217), "request_key": (249, 218)},
    **{"keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
    **{"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268)},
    **{"unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430)},
    **{"fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442)},
    **{"name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60), "acct": (163, 89)},
    **{"swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161)},
    **{"init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273), "kexec_load": (246, 104)},
    **{"settimeofday": (164, 170), "clock_settime": (227, 112), "syslog": (103, 116), "shmget": (29, 194)},
    **{"msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
}
UNKNOWN = {"memfd_create": (319, 279), "memfd_secret": (447, 447), "clone3": (435, 435), "io_uring_setup": (425, 425)}
OWN_ONLY = {  # on this process itself they are allowed: which argument names another
    **{"prlimit64": (302, 261, 0), "sched_setaffinity": (203, 122, 0), "sched_setparam": (142, 118, 0)},
    **{"sched_setscheduler": (144, 119, 0), "sched_setattr": (314, 274, 0)},
    **{"setpriority": (141, 140, 1), "ioprio_set": (251, 30, 1)},
}
CLONE, SOCKET = (56, 220), (41, 198)
FAMILIES = (1, 2, 10, 16)  # of sockets: Unix, IPv4, IPv6, and netlink, which lists this process's own interfaces


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def control(option: int, value: int) -> bool:
    """Call prctl; where it is not known the rest still works, only less strictly."""
    return LINUX and bool(libc().prctl(option, value, 0, 0, 0) == 0)


def enclose(writable: list[str], home: str, *, parent: int = 0, inside: bool = False, forks: bool = False) -> list[str]:
    """Leave the namespaces that other processes are in; the names of the walls that stand then. What comes after it
    runs in a child of this process, which stays to tell how that ends.

    Args:
        writable: folders that stay so. home: the user's, in which folders of keys are hidden. parent: who is to watch
            over this process, which ends with it. inside: whether it has a network of its own already, as what a fork
            server forked. forks: whether it is a fork server.
    """
    flags = NEW_MOUNTS | (0 if inside else NEW_IPC | NEW_NET)
    if not LINUX or not _left(flags):
        return []
    stand = [] if inside else [NETWORK]
    alone = not forks and _alone(parent)
    if not inside:
        with contextlib.suppress(OSError):
            _loopback_up()
    private = _mounted("none", "/", "none", RECURSIVE | PRIVATE)
    if private and alone and _mounted("proc", "/proc", "proc", NO_SUID_DEV | NO_EXEC):
        stand.append(PROCESSES)
    if private and _read_only_but([*writable, "/proc"] if forks else writable, home):  # to map users for what it forks
        stand += [MOUNTS, MEMORY]
    _drop_capabilities(KEPT_TO_FORK if forks else KEPT_CAPABILITIES)
    control(SET_DUMPABLE, 1)  # it was lost with the capabilities, and its supervisor is to see what it holds
    return stand


def _left(flags: int) -> bool:
    """Leave them as root, or else as root of a user namespace; that is tried in a child first: where it goes wrong
    half-way, nothing can be done any more."""
    if libc().unshare(flags) == 0:
        return True
    child = os.fork()
    if child == 0:
        failed = True
        try:
            failed = not _as_own_root(flags)
        finally:
            os._exit(failed)
    return os.waitpid(child, 0)[1] == 0 and _as_own_root(flags)


def _as_own_root(flags: int) -> bool:
    uid, gid = os.geteuid(), os.getegid()
    if libc().unshare(flags | NEW_USER) != 0:
        return False
    control(SET_DUMPABLE, 1)  # otherwise what is written next is not its own to write
    try:
        for name, number in (("setgroups", None), ("uid_map", uid), ("gid_map", gid)):
            text = b"deny" if number is None else b"%d %d 1" % (number, number)
            file = os.open("/proc/self/" + name, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(file, text)
            finally:
                os.close(file)
    except OSError:
        return False
    return True


def _alone(parent: int) -> bool:
    """Go on as one of the first processes of a PID namespace of its own; False where there is none to be had.

    This process stays outside, and ends as the one within does, so that whoever waits for it is told the same. Between
    them stands the namespace's first process, which collects orphans: where it ends, the kernel ends all that is in it.
    """
    if not parent or libc().unshare(NEW_PID) != 0:
        return False
    control(SET_DUMPABLE, 1)
    said, tell = os.pipe()
    first = os.fork()
    if first:
        _told_by(first, said, parent)
    control(SET_PDEATHSIG, signal.SIGKILL)
    second = os.fork()
    if second:
        _collect_until(second, tell)
    os.close(said)
    os.close(tell)
    with contextlib.suppress(OSError):  # by the names that those outside have: this /proc is theirs still
        os.environ[KNOWN_AS] = json.dumps([int(os.readlink("/proc/self")), parent])
    return True


def _told_by(first: int, said: int, parent: int) -> NoReturn:
    """Wait for the namespace's first process, and end as it says that the second did."""
    _hold_only(said)
    control(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    status = os.waitpid(first, 0)[1]
    told = os.read(said, 4)
    status = struct.unpack("i", told)[0] if len(told) == 4 else status
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _collect_until(second: int, tell: int) -> NoReturn:
    """Collect the namespace's dead until its second process is among them."""
    _hold_only(tell)
    while True:
        with contextlib.suppress(InterruptedError):
            pid, status = os.wait()
            if pid == second:
                os.write(tell, struct.pack("i", status))
                os._exit(0)


def _hold_only(kept: int) -> None:
    """Close every other file, so that nobody waits for this process, and react to no signal in a way of Python's."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(0, kept)
    os.closerange(kept + 1, 1 << 16)


def known_as() -> list[int]:
    """This process and the one that watches over it, by the names that those outside a PID namespace have for them."""
    told = os.environ.pop(KNOWN_AS, "")
    return json.loads(told) if told else [os.getpid(), os.getppid()]


def _mounted(source: str, place: str, kind: str, flags: int, data: str = "") -> bool:
    given = source.encode(), os.fsencode(place), kind.encode(), ctypes.c_ulong(flags), data.encode()
    return bool(libc().mount(*given) == 0)


def _read_only_but(writable: list[str], home: str) -> bool:
    call, mount = libc(), _mounted

    def attributes(place: str, on: int, off: int, *, recursive: bool) -> bool:
        given = struct.pack("=4Q", on, off, 0, 0)
        flags = AT_RECURSIVE if recursive else 0
        size = ctypes.c_size_t(len(given))
        return bool(call.syscall(MOUNT_SETATTR, HERE, os.fsencode(place), flags, given, size) == 0)

    for place in (p for p in writable if not os.path.ismount(p)):
        mount(place, place, "none", BIND)
    hidden = [os.path.join(home, name) for name in KEYS] if home else []
    for place in ("/run", *hidden):
        if os.path.isdir(place) and not any(_below(kept, place) for kept in writable):
            mount("tmpfs", place, "tmpfs", NO_SUID_DEV, "size=64k,mode=755")
    if not attributes("/", READ_ONLY, 0, recursive=True):
        return False
    for place in writable:
        attributes(place, 0, READ_ONLY, recursive=False)
    mount("tmpfs", "/dev/shm", "tmpfs", NO_SUID_DEV, "size=%d,mode=1777" % SHARED_MEMORY)
    return True


def _below(path: str, folder: str) -> bool:
    return os.path.commonpath((os.path.realpath(path), os.path.realpath(folder))) == os.path.realpath(folder)


def _loopback_up() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def _drop_capabilities(kept: int) -> None:
    """From the bounding set, so that no program gives them back, and from this process; some are kept of root's."""
    kept = kept if os.geteuid() == 0 else 0
    for number in range(64):
        if not kept >> number & 1:
            control(CAPBSET_DROP, number)
    header, data = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", kept, kept, 0, 0, 0, 0)
    libc().capset(header, data)


def landlock_version() -> int:
    """The version of the kernel's Landlock, 0 where there is none."""
    return max(0, int(libc().syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))) if LINUX else 0


def confine(writable: list[str]) -> bool:
    """From here on this process and its children write below `writable` only, and signal nobody outside.

    By Landlock, as far as the kernel has it; whether it has.
    """
    version = landlock_version()
    handled = WRITING | (REFER if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)  # and truncate
    words = [handled, 0, 3][: 3 if version >= 6 else 1]  # file system, network, scope: abstract sockets and signals
    return version > 0 and _restrict(words, handled, writable)


def only_read(places: list[str]) -> bool:
    """From here on this process and its children read below `places` only; whether the kernel can hold them to it."""
    version = landlock_version()
    rights = READING | (REFER if version >= 2 else 0)  # where it is not handled, nothing moves from folder to folder
    return version > 0 and _restrict([rights], rights, places, everywhere=rights & REFER)


def _restrict(words: list[int], rights: int, places: list[str], everywhere: int = 0) -> bool:
    call = libc()
    ruleset = call.syscall(
        LANDLOCK_CREATE, struct.pack("=%dQ" % len(words), *words), ctypes.c_size_t(8 * len(words)), 0
    )
    if ruleset < 0:
        return False
    for path, given in [*((p, rights) for p in places), ("/", everywhere)]:
        with contextlib.suppress(OSError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = given if os.path.isdir(path) else given & OF_FILES
            call.syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", allowed, place), 0)
            os.close(place)
    done = bool(call.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0)
    os.close(ruleset)
    return done


def readable(places: list[str]) -> list[str]:
    """What an interpreter reads beside `places`: itself, what it imports from, and the system's own files."""
    import sysconfig

    own = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    own += [p for p in sys.path if p] + list(sysconfig.get_paths().values())
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # of a package that is installed from where it is developed
            own += [str(p) for p in getattr(module, "MAPPING", {}).values()]
    for folder in [p for p in sys.path if os.path.isdir(p)]:
        with os.scandir(folder) as entries:
            own += [os.path.realpath(e.path) for e in entries if e.is_symlink()]
    system = [*SYSTEM, *(os.path.join("/etc", name) for name in SYSTEM_FILES)]
    return list(dict.fromkeys([*places, *(g for p in places for g in _repository(p)), *own, *system]))


def _repository(tree: str) -> list[str]:
    """Where git keeps what belongs to a working tree that is not its only one."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(os.path.join(tree, ".git"), encoding="utf-8") as file:
            found = re.match(r"gitdir: (.+)", file.read(4096))
        if found:
            folder = os.path.join(tree, found.group(1).strip())
            return [folder, os.path.dirname(os.path.dirname(os.path.realpath(folder)))]
    return []


def filter_calls() -> bool:
    """From here on this process and its children make no system call on other processes; whether that could be set."""
    machine = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}.get(os.uname().machine)
    if not LINUX or machine is None or sys.maxsize < 1 << 32:
        return False
    program = b"".join(_program(*machine))
    given = ctypes.create_string_buffer(program)
    packed = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(given))
    return bool(libc().prctl(SET_SECCOMP, 2, packed, 0, 0) == 0)


def _program(arch: int, column: int) -> Iterator[bytes]:
    """The filter, instruction by instruction (linux/filter.h): load a word, compare, return."""
    load, equal, at_least, any_of, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

    def op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    yield from (op(load, 4), op(equal, arch, 1, 0), op(give, refuse), op(load, 0))
    if column == 0:
        yield from (op(at_least, 0x40000000, 0, 1), op(give, unknown))  # x32, a second numbering
    for numbers, answer in ((REFUSED, refuse), (UNKNOWN, unknown)):
        for number in (pair[column] for pair in numbers.values()):
            yield from (op(equal, number, 0, 1), op(give, answer))
    for row in OWN_ONLY.values():
        yield from (op(equal, row[column], 0, 4), op(load, 16 + 8 * row[2]), op(equal, 0, 0, 1), op(give, allow))
        yield op(give, refuse)
    yield from (op(equal, CLONE[column], 0, 4), op(load, 16), op(any_of, ANY_NEW, 1, 0), op(give, allow))
    yield op(give, refuse)
    count = len(FAMILIES)
    yield from (op(equal, SOCKET[column], 0, count + 3), op(load, 16))
    yield from (op(equal, int(family), count - at, 0) for at, family in enumerate(FAMILIES))
    yield from (op(give, refuse), op(give, allow), op(give, allow))


def stand(names: list[str]) -> None:
    """Note that these walls stand, beside those that stood before."""
    os.environ[STANDING] = json.dumps(standing() + [n for n in names if n not in standing()])


def standing() -> list[str]:
    """The names of the walls that stand around this process, in the order of `TOLD`."""
    try:
        told = json.loads(os.environ.get(STANDING, "[]"))
    except ValueError:
        return []
    return [name for name in TOLD if name in told]
