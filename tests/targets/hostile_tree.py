"""The source of a tree that misbehaves on request, and of the binding that asks it. Written to disk by the tests."""

DEEDS = '''
import os, signal, struct, sys, threading, time

def note(path, pid):
    """The process, by the PID namespace that it has that number in."""
    with open(path, "a") as file:
        file.write("%d:%d\\n" % (os.stat("/proc/self/ns/pid").st_ino, pid))

def pipes():
    """The worker's private pipe to the audit: the one that it may write to and that is not printed to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and "pipe" in os.readlink("/proc/self/fd/" + name):
                mode = open("/proc/self/fdinfo/" + name).read().split("flags:")[1].split()[0]
                if int(mode, 8) & 1:
                    found.append(int(name))
        except OSError:
            pass
    return found

def daemon(pids, twice=False):
    if os.fork() == 0:
        os.setsid()
        if twice and os.fork():
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        note(pids, os.getpid())
        while True:
            time.sleep(60)

def wait_for(pids, number):
    while not os.path.exists(pids) or len(open(pids).read().split()) < number:
        time.sleep(0.01)

def frame(payload):
    for fd in pipes():
        os.write(fd, struct.pack(">I", len(payload)) + payload)

COUNTED = []

class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit("no message")

def do(deed, pids, scratch):
    note(pids + ".worker", os.getpid())
    if deed == "honest":
        return "done"
    if deed == "garbage on stdout":
        for _ in range(20):
            os.write(1, b"\\x00\\x00\\x00\\x05hello\\xff\\x1b[31m" * 1000)
        print("{\\"id\\": 1}", flush=True)
        return "done"
    if deed == "flood stderr" or deed == "flood stdout":
        for _ in range(1024):
            os.write(2 if "stderr" in deed else 1, b"x" * (1 << 20))
    elif deed == "sleep":
        time.sleep(3600)
    elif deed == "spin":
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass
    elif deed == "exit":
        print("\\x1b[31mlast words\\x07", file=sys.stderr, flush=True)
        os._exit(3)
    elif deed == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif deed == "SystemExit":
        raise SystemExit(0)
    elif deed == "KeyboardInterrupt":
        raise KeyboardInterrupt
    elif deed == "hostile exception":
        raise Unspeakable
    elif deed == "children":
        daemon(pids)
        daemon(pids, twice=True)
        wait_for(pids, 2)
    elif deed == "children, then exit":
        daemon(pids)
        daemon(pids, twice=True)
        wait_for(pids, 2)
        os._exit(0)
    elif deed == "children, then sleep":
        daemon(pids)
        daemon(pids, twice=True)
        time.sleep(60)
    elif deed == "many children":
        for _ in range(200):
            daemon(pids)
        time.sleep(60)
    elif deed == "200 MB":
        return "x" * 200_000_000
    elif deed == "200 MB frame":
        fd = pipes()[0]
        os.write(fd, struct.pack(">I", 200_000_000))
        while True:
            os.write(fd, b" " * 65536)
    elif deed == "many small lists":
        frame(b'{"id":"0","value":[' + b"[]," * 300_000 + b"[]]}")
        time.sleep(60)
    elif deed == "NaN":
        return float("nan")
    elif deed == "infinity":
        return [float("-inf")]
    elif deed == "lone surrogate":
        return "\\ud800"
    elif deed == "raw NaN":
        frame(b'{"value":{"said":NaN}}')
    elif deed == "raw surrogate":
        frame(b'{"value":{"said":"\\\\ud800"}}')
    elif deed == "deep":
        value = []
        for _ in range(100_000):
            value = [value]
        return value
    elif deed == "rather deep":
        value = []
        for _ in range(200):
            value = [value]
        return value
    elif deed == "raw deep":
        frame(b"[" * 100_000 + b"]" * 100_000)
    elif deed == "cycle":
        value = []
        value.append(value)
        return value
    elif deed == "not JSON":
        return {1, 2}
    elif deed == "memory":
        kept = []
        while True:
            kept.append(bytearray(16 << 20))
    elif deed == "memory of children":
        for _ in range(8):
            if os.fork() == 0:
                note(pids, os.getpid())
                kept = bytearray(200 << 20)
                for place in range(0, len(kept), 4096):
                    kept[place] = 1
                time.sleep(60)
        time.sleep(60)
    elif deed == "close all":
        os.closerange(0, 4096)
        time.sleep(60)
    elif deed == "kill the parent":
        daemon(pids)
        daemon(pids, twice=True)
        wait_for(pids, 2)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    elif deed == "stop the parent":
        daemon(pids)
        wait_for(pids, 1)
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(60)
    elif deed == "garbage frames":
        for fd in pipes():
            os.write(fd, b"\\x00\\x00\\x00\\x05hello" * 100)
    elif deed == "a second answer":
        def later():
            while True:
                frame(b'{"id":"1","value":{"said":"forged"}}')
        threading.Thread(target=later, daemon=True).start()
        time.sleep(0.2)
    elif deed == "rights":
        inner = os.path.join(scratch, "a", "b")
        os.makedirs(inner)
        open(os.path.join(inner, "c"), "w").close()
        os.chmod(inner, 0)
        os.chmod(os.path.dirname(inner), 0)
        return "done"
    elif deed.startswith("try "):
        try:
            eval(deed[4:], {name: __import__(name) for name in ("os", "resource", "socket", "subprocess")})
        except Exception as error:
            return type(error).__name__
        return "done"
    elif deed == "unlinked files":
        kept = []
        for number in range(100):
            kept.append(open(os.path.join(scratch, "x"), "wb"))
            os.unlink(kept[-1].name)
            kept[-1].write(b"x" * (1 << 20))
            kept[-1].flush()
        time.sleep(60)
    elif deed == "count":
        COUNTED.append(deed)
        return len(COUNTED)
    elif deed == "sleep a little":
        time.sleep(0.3)
    elif deed.startswith("write to "):
        open(deed.removeprefix("write to "), "w").close()
    elif deed == "write into the tree":
        with open(__file__ + ".new", "w") as file:
            file.write("x")
    elif deed == "cut a file of the tree":
        os.truncate(__file__, 0)
    elif deed == "write into the scratch":
        with open(os.path.join(scratch, "x"), "w") as file:
            file.write("x")
        os.rename(os.path.join(scratch, "x"), os.path.join(os.environ["HOME"], "y"))
        with open(os.devnull, "w") as file:
            file.write("x")
        import multiprocessing
        multiprocessing.Lock()
        return "done"
    elif deed == "environment":
        return dict(os.environ)
    elif deed == "places":
        return [os.getcwd(), __file__, sys.executable, repr(object())]
    elif deed == "many files":
        for number in range(100_000):
            with open(os.path.join(scratch, "f%d" % number), "wb") as file:
                file.write(b"x" * (1 << 20))
    elif deed == "big file":
        with open(os.path.join(scratch, "big"), "wb") as file:
            for _ in range(1024):
                file.write(b"x" * (1 << 20))
    return "done"
'''

BINDING = """
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds

@binds("hostile.deed", do=("src.deeds:do",))
def deed(request, here):
    return {"said": here.call(here.do, request["deed"], request["pids"], here.scratch)}

@binds("hostile.moved", do=("src.old:do", "src.deeds:do"), extra=("src.deeds:absent", "?"))
def moved(request, here):
    if here.extra is not None:
        raise ValueError("it is not there")
    return {"said": here.call(here.do, "honest", request["pids"], here.scratch)}

@binds("hostile.missing", do=("src.old:do", "src.older:do"))
def missing(request, here):
    return {"said": "never"}

@binds("hostile.broken", do=("src.broken:do",))
def broken(request, here):
    return {"said": here.call(here.do)}

@binds("hostile.wrong", do=("src.deeds:do",))
def wrong(request, here):
    return {"said": request["no such key"]}

@binds("hostile.shy", do=("src.deeds:do",))
def shy(request, here):
    raise Unbound("this tree does it in another way")
"""

FILES = {
    "src/__init__.py": "",
    "src/sft.py": "",
    "src/deeds.py": DEEDS,
    "src/broken.py": "import a_package_that_nobody_has\n\n\ndef do():\n    pass\n",
}
