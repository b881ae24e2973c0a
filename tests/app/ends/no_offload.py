"""Turns off what makes frames differ from packets on the wire, as `ethtool -K` does.

usage: no_offload.py INTERFACE
"""
import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
SETS = {"tx checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for name, command in SETS.items():
        value = array.array("B", struct.pack("II", command, 0))
        request = struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0])
        try:
            fcntl.ioctl(s, SIOCETHTOOL, request)
        except OSError as error:
            print(f"cannot turn off {name}: {error}", file=sys.stderr)
