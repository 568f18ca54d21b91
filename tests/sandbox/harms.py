"""Programs that attack the host.

Each defines ``attempt()``, which returns something true when the attack worked. In braces stand facts about the host: a
folder and a secret file of another program, the number of one of its processes, ports and sockets it listens on.
"""

CONTAINED = """
import sys as _sys
try:
    _got = attempt()
except BaseException as _error:
    _got = None
assert not _got, f"the attack worked: {_got!r}"
"""

_SYSCALL = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
def call(x86, arm, *arguments):
    number = x86 if X86 else arm
    return libc.syscall(ctypes.c_long(number), *arguments)
"""

HARMS = {
    # ------------------------------------------------------------ files
    "write beside the root": "def attempt():\n    open('/owned', 'w').write('x')\n    return True",
    "write a folder outside": "def attempt():\n    open('{folder}/new', 'w').write('x')\n    return True",
    # What it can write, it may; the test looks for its files afterwards, everywhere.
    "litter every folder": """
def attempt():
    import os, pathlib
    left = 0
    for top, folders, files in os.walk('/'):
        if top.count('/') > 2 or top.startswith(('/proc', '/sys')):
            folders.clear()
        try:
            pathlib.Path(top, 'litter-{mark}').write_text('x')
            left += 1
        except OSError:
            pass
    return '' if left else 'not quite: it could not even write in its own folder'
""",
    "read a secret": "def attempt():\n    return open('{folder}/secret').read()",
    "find a secret": """
def attempt():
    import os
    for top in ('/home', '/root', '/tmp', '/var', '/mnt', '/opt', '/srv', '/run'):
        for path, _, names in os.walk(top):
            for name in names:
                if name == 'secret':
                    return path
""",
    "delete a file": "def attempt():\n    import os\n    os.remove('{folder}/secret')\n    return True",
    "delete everything": """
def attempt():
    import shutil
    for top in ('{folder}', '/home', '/usr/share', '/etc'):
        shutil.rmtree(top, ignore_errors=True)
    import os
    return not os.path.exists('/etc/passwd')
""",
    "rename a folder": "def attempt():\n    import os\n    os.rename('{folder}', '{folder}-x')\n    return True",
    "add a user": "def attempt():\n    open('/etc/passwd', 'a').write('x::0:0::/:/bin/sh')\n    return True",
    "write site-packages": """
def attempt():
    import sysconfig
    open(sysconfig.get_path('purelib') + '/owned.pth', 'w').write('import os')
    return True
""",
    "write the standard library": """
def attempt():
    import os
    open(os.__file__, 'a').write('#')
    return True
""",
    "write compiled code": """
def attempt():
    import importlib.util, os
    path = importlib.util.cache_from_source(os.__file__)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, 'ab').write(b'x')
    return True
""",
    "through a symbolic link": """
def attempt():
    import os
    os.symlink('{folder}', '/tmp/link')
    open('/tmp/link/new', 'w').write('x')
    return True
""",
    "through a hard link": """
def attempt():
    import os
    os.link('/etc/passwd', '/tmp/link')
    open('/tmp/link', 'a').write('x')
    return True
""",
    "through /proc/1/root": "def attempt():\n    return open('/proc/1/root{folder}/secret').read()",
    "through /proc/self/cwd": """
def attempt():
    return open('/proc/self/cwd' + '/..' * 40 + '{folder}/secret').read()
""",
    "change permissions": "def attempt():\n    import os\n    os.chmod('/usr/bin/env', 0o4777)\n    return True",
    "make a device": """
def attempt():
    import os, stat
    os.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))
    return open('/tmp/disk', 'rb').read(1) or True
""",
    "set the host's name": """
def attempt():
    import socket
    socket.sethostname('owned')
    return True
""",
    "write kernel settings": """
def attempt():
    worked = []
    for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches',
                 '/sys/power/state', '/proc/sys/kernel/hostname'):
        try:
            open(path, 'w').write('1')
            worked.append(path)
        except OSError:
            pass
    return worked
""",
    # ------------------------------------------------------------ mounts, namespaces, privileges
    "mount": _SYSCALL + "def attempt():\n    return call(165, 40, b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "remount writable": _SYSCALL
    + """
def attempt():
    return call(165, 40, None, b'/usr', None, 32 | 4096, None) == 0
""",
    "unmount": _SYSCALL + "def attempt():\n    return call(166, 39, b'/tmp', 2) == 0",
    "chroot": "def attempt():\n    import os\n    os.mkdir('/tmp/j')\n    os.chroot('/tmp/j')\n    return True",
    "new user namespace": _SYSCALL + "def attempt():\n    return call(272, 97, 0x10000000) == 0",
    "clone into namespaces": _SYSCALL
    + """
def attempt():
    child = call(56, 220, 0x10000000 | 17, None, None, None, None)
    if child == 0:
        import os
        os._exit(0)
    return child > 0
""",
    "join a namespace": """
def attempt():
    import ctypes, os
    return ctypes.CDLL(None).setns(os.open('/proc/1/ns/user', os.O_RDONLY), 0) == 0
""",
    "become root": "def attempt():\n    import os\n    os.setuid(0)\n    return True",
    "other user": "def attempt():\n    import os\n    os.setresuid(1, 1, 1)\n    return True",
    "gain by setuid programs": """
def attempt():
    import subprocess
    for command in (['su', '-c', 'id -u'], ['sudo', '-n', 'id', '-u'], ['mount', '-t', 'tmpfs', 'x', '/tmp']):
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except OSError:
            continue
        if done.returncode == 0:
            return command
""",
    "rare system calls": _SYSCALL
    + """
def attempt():
    import ctypes
    calls = dict(keyctl=(250, 219), bpf=(321, 280), perf=(298, 241), io_uring=(425, 425), userfaultfd=(323, 282),
                 handle=(304, 265), kexec=(246, 104), module=(175, 105), swapon=(167, 224), fsopen=(430, 430),
                 settime=(164, 170), reboot=(169, 142), acct=(163, 89), quota=(179, 60))
    buffer = ctypes.create_string_buffer(256)
    return [name for name, (x86, arm) in calls.items() if call(x86, arm, 0, buffer, buffer, 0, 0) >= 0]
""",
    "raise limits": """
def attempt():
    import resource
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return True
""",
    "raise priority": "def attempt():\n    import os\n    os.nice(-20)\n    return True",
    # ------------------------------------------------------------ processes and signals
    "kill a process": "def attempt():\n    import posix\n    posix.kill({victim}, 9)\n    return True",
    "kill by libc": _SYSCALL + "def attempt():\n    return call(62, 129, {victim}, 9) == 0",
    "kill everybody": _SYSCALL + "def attempt():\n    call(62, 129, -1, 9)\n    return False",
    "kill the group": _SYSCALL + "def attempt():\n    call(62, 129, 0, 9)\n    return False",
    "kill the parent": _SYSCALL
    + """
def attempt():
    import os
    for pid in range(0, 3000):
        if pid not in (os.getpid(), 0):
            call(62, 129, pid, 9)
    return False
""",
    "kill by program": """
def attempt():
    import os, subprocess
    os.system('pki' 'll -9 -f sleep; ki' 'll -9 {victim}')
    return False
""",
    "signal through a pidfd": """
def attempt():
    import os, signal
    signal.pidfd_send_signal(os.pidfd_open({victim}), 9)
    return True
""",
    "see other processes": """
def attempt():
    import os
    return [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid()]
""",
    "trace a process": _SYSCALL + "def attempt():\n    return call(101, 117, 16, {victim}, None, None) == 0",
    "read another's memory": _SYSCALL
    + """
def attempt():
    import ctypes
    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    return call(310, 270, {victim}, vector, 1, vector, 1, 0) > 0
""",
    "leave a daemon": """
def attempt():
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000.{mark})
        os._exit(0)
    return False
""",
    "leave a deaf process": """
def attempt():
    import os, signal, subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(['sleep', '1000.{mark}'], start_new_session=True)
    return False
""",
    "fork bomb": """
def attempt():
    import os
    count = 0
    while True:
        try:
            pid = os.fork()
        except OSError:
            return count > 200
        if pid == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
        count += 1
""",
    "thread bomb": """
def attempt():
    import threading, time
    count = 0
    while count < 3000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        count += 1
    return count
""",
    # ------------------------------------------------------------ network
    "reach a service of the host": """
def attempt():
    import socket
    with socket.create_connection(('127.0.0.1', {port}), timeout=1) as sock:
        return sock.recv(10)
""",
    "reach an abstract socket": """
def attempt():
    import socket
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1)
    sock.connect('\\0{abstract}')
    return sock.recv(10)
""",
    "reach a socket file": """
def attempt():
    import socket
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1)
    sock.connect('{folder}/socket')
    return sock.recv(10)
""",
    "reach the internet": """
def attempt():
    import socket
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b'x', ('192.0.2.1', 53))
    return True
""",
    "see network devices": """
def attempt():
    import socket
    return [name for _, name in socket.if_nameindex() if name != 'lo']
""",
    "raw sockets": """
def attempt():
    import socket
    worked = []
    for family, kind in ((17, 3), (40, 1), (2, 3), (38, 5)):
        try:
            socket.socket(family, kind)
            worked.append(family)
        except OSError:
            pass
    return worked
""",
    # ------------------------------------------------------------ resources
    "fill the disk": """
def attempt():
    written = 0
    for folder in ('/tmp', '/dev/shm', '/var/tmp', '.'):
        for number in range(8):
            try:
                with open(f'{{folder}}/fill{{number}}', 'wb') as file:
                    for _ in range(64):
                        written += file.write(bytes(1 << 20))
            except OSError:
                break
    return written > 300 << 20
""",
    "fill the inodes": """
def attempt():
    for number in range(200_000):
        open(f'/tmp/{{number}}', 'w').close()
    return True
""",
    "a huge file": """
def attempt():
    with open('/tmp/huge', 'wb') as file:
        file.truncate(1 << 40)
    return True
""",
    "all memory at once": "def attempt():\n    return len(bytearray(1 << 40))",
    "all memory in pieces": """
def attempt():
    kept = []
    for _ in range(64):
        kept.append(bytearray(b'x') * (64 << 20))
    return len(kept)
""",
    "all memory by children": """
def attempt():
    import os, time
    for _ in range(16):
        if os.fork() == 0:
            kept = bytearray(b'x') * (200 << 20)
            time.sleep(60)
    time.sleep(60)
    return True
""",
    "all descriptors": """
def attempt():
    kept = [open('/dev/null') for _ in range(100_000)]
    return len(kept)
""",
    "inherited descriptors": """
def attempt():
    import os
    links = [os.readlink(f'/proc/self/fd/{{fd}}') for fd in os.listdir('/proc/self/fd') if int(fd) > 3]
    return [link for link in links if not link.startswith('/proc/')]
""",
    "secrets in the environment": """
def attempt():
    import os
    everything = str(dict(os.environ))
    for process in ('self', '1', str(os.getppid())):
        try:
            everything += open(f'/proc/{{process}}/environ').read()
        except OSError:
            pass
    return 'hunter2' in everything
""",
    # ------------------------------------------------------------ time and output
    "sleep for ever": "def attempt():\n    import time\n    time.sleep(1e6)\n    return True",
    "deaf to the deadline": """
def attempt():
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        pass
""",
    "endless in C": "def attempt():\n    import re\n    return re.match('(a+)+$', 'a' * 64 + 'b')",
    "flood of output": """
def attempt():
    import os, sys
    block = 'x' * (1 << 20)
    for _ in range(1024):
        print(block)
    for _ in range(64):
        os.write(1, block.encode())
        os.write(2, block.encode())
    return False
""",
    "flood of reports": """
def attempt():
    import os
    while True:
        os.write(3, b'x' * (1 << 16))
""",
    "type into the terminal": """
def attempt():
    import fcntl
    with open('/dev/tty', 'w') as terminal:
        fcntl.ioctl(terminal, 0x5412, b'x')
    return True
""",
}
