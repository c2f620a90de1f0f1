"""As much of Cassandra's native protocol (version 4) as a test's launcher needs, so that it needs no driver."""

import socket
import struct

ERROR, STARTUP, AUTHENTICATE, QUERY, RESULT, AUTH_RESPONSE = 0, 1, 3, 7, 8, 15
CONSISTENCY = {"ONE": 1, "ALL": 5}
WITH_WARNINGS = 8
ROWS = 2


class Error(Exception):
    pass


class Session:
    """One connection; user and password are those that a new cluster has."""

    def __init__(self, host, port, auth, tls, timeout_s):
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        try:
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname=host)
            opcode, _ = self._call(STARTUP, struct.pack(">H", 1) + _string("CQL_VERSION") + _string("3.0.0"))
            if opcode == AUTHENTICATE:
                if not auth:
                    raise Error("the node asks for a password")
                token = b"\0cassandra\0cassandra"
                self._call(AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def query(self, statement, consistency="ONE"):
        """The rows, each a dictionary of values: text, whole numbers and truth as such, everything else in hexadecimal."""
        text = statement.encode()
        body = struct.pack(">i", len(text)) + text + struct.pack(">HB", CONSISTENCY[consistency], 0)
        opcode, answer = self._call(QUERY, body)
        return list(_rows(answer)) if opcode == RESULT else []

    def _call(self, opcode, body):
        self.socket.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
        _, flags, _, opcode, length = struct.unpack(">BBhBi", self._receive(9))
        reader = _Reader(self._receive(length))
        if flags & WITH_WARNINGS:
            for _ in range(reader.number(">H")):
                reader.string()
        if opcode == ERROR:
            raise Error(f"{reader.number('>i'):#06x} {reader.string()}")
        return opcode, reader

    def _receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Error("the node closed the connection")
            data += part
        return data


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, count):
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def string(self):
        return self.bytes(self.number(">H")).decode(errors="replace")

    def type(self):
        kind = self.number(">H")
        if kind == 0:
            self.string()
        for _ in range({0x20: 1, 0x21: 2, 0x22: 1}.get(kind, 0)):
            self.type()
        return kind

    def value(self, kind):
        size = self.number(">i")
        if size < 0:
            return None
        raw = self.bytes(size)
        if kind in (0x01, 0x0A, 0x0D):
            return raw.decode(errors="replace")
        if kind in (0x02, 0x09, 0x0B):
            return int.from_bytes(raw, "big", signed=True)
        return raw == b"\1" if kind == 0x04 else raw.hex()


def _string(text):
    return struct.pack(">H", len(text)) + text.encode()


def _rows(reader):
    if reader.number(">i") != ROWS:
        return
    flags, count = reader.number(">i"), reader.number(">i")
    if flags & 2:
        reader.bytes(max(reader.number(">i"), 0))
    if flags & 1:
        reader.string(), reader.string()
    columns = []
    for _ in range(count):
        if not flags & 1:
            reader.string(), reader.string()
        name = reader.string()
        columns.append((name, reader.type()))
    for _ in range(reader.number(">i")):
        yield {name: reader.value(kind) for name, kind in columns}
