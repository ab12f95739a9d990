"""What Linux is asked about sockets: to begin no handshake any more, and how much was received.

Elsewhere these do nothing or answer 0, and their callers do without.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable

# <asm-generic/socket.h>; Python has no names for them.
_SO_ATTACH_FILTER = 26
# <linux/tcp.h>: tcp_info.tcpi_bytes_acked, since Linux 4.1.
_BYTES_ACKNOWLEDGED = struct.Struct("=120xQ")


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


_FLAGS_OFFSET, _SYN = 13, 0x02
# Classic BPF on a TCP segment: drop it if it asks for a connection.
_PROGRAM = (_Instruction * 4)(
    _Instruction(0x30, 0, 0, _FLAGS_OFFSET),  # load the byte of flags
    _Instruction(0x45, 0, 1, _SYN),  # has it this one?
    _Instruction(0x06, 0, 0, 0),  # then keep nothing of the segment
    _Instruction(0x06, 0, 0, 0xFFFFFFFF),  # else all
)


def drop_handshakes(listener: socket.socket) -> bool:
    """Have the kernel drop segments that ask for a new connection; handshakes that have begun go
    on. Whether it does: it can be forbidden."""
    if sys.platform != "linux":
        return False
    program = struct.pack("HP", len(_PROGRAM), ctypes.addressof(_PROGRAM))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def bound_unsent(listener: socket.socket, max_bytes: int) -> None:
    """Have the kernel take no more data than that of each accepted connection before it can be
    sent."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, max_bytes)


async def accept_the_rest(
    listener: socket.socket, protocols: Callable[[], asyncio.BaseProtocol]
) -> None:
    """Accept every connection that waits, then close the listener; protocols are made for them."""
    loop, accepted = asyncio.get_running_loop(), []
    with listener:
        while True:
            try:
                accepted.append(listener.accept()[0])
            except ConnectionError:
                continue  # Its client has left meanwhile.
            except OSError:
                break  # Nothing waits any more, or there is no file for it.
    for sock in accepted:
        sock.setblocking(False)
        try:
            await loop.connect_accepted_socket(protocols, sock)
        except OSError:
            sock.close()  # Its client has left, which must not cost the others anything.


def bytes_acknowledged(sock: socket.socket) -> int:
    """Bytes of a connection that its peer has confirmed to have; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKNOWLEDGED.size)
    except OSError:
        return 0
    if len(info) < _BYTES_ACKNOWLEDGED.size:
        return 0
    acknowledged: int = _BYTES_ACKNOWLEDGED.unpack(info)[0]
    return acknowledged
