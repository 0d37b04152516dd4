"""An operator's own sections: only a Redis master gets connections, by a dialogue of `tcp-check`, and a MySQL server by
HAProxy's own check."""

import socketserver

import balancer
import clients
import targets


class RedisHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            command = line.decode().strip().lower()
            # A bulk string of Redis's protocol has its length before it.
            info = f"# Replication\r\nrole:{self.target.role}\r\nconnected_slaves:0\r\n"
            answers = {"ping": "+PONG", "info replication": f"${len(info)}\r\n{info}", "quit": "+OK"}
            self.wfile.write(f"{answers.get(command, self.target.address)}\r\n".encode())
            if command == "quit":
                return


class Redis(targets.Target):
    handler = RedisHandler

    def __init__(self, address: str, role: str) -> None:
        self.role = role
        super().__init__(address)


class MysqlHandler(socketserver.BaseRequestHandler):
    """The protocol's first packets: the server greets, the client names a user, the server accepts or refuses it."""

    def packet(self, number: int, content: bytes) -> None:
        self.request.sendall(len(content).to_bytes(3, "little") + bytes([number]) + content)

    def handle(self) -> None:
        name = self.target.address.encode()
        self.packet(0, b"\x0a" + name + b"\0" + bytes(4) + b"12345678\0" + b"\xff\xf7\x08\x02\x00" + bytes(26))
        if b"haproxy\0" in self.request.recv(4096):
            refusal = b"\xff\x15\x04#28000Access denied"
            self.packet(2, b"\0\0\0\x02\0\0\0" if self.target.accepts else refusal)


class Mysql(targets.Target):
    handler = MysqlHandler

    def __init__(self, address: str) -> None:
        self.accepts = True
        super().__init__(address)


redis = {n: Redis(f"10.0.{n}.60:6379", role) for n, role in ((1, "slave"), (2, "master"))}
mysql = [Mysql("10.0.1.61:3306"), Mysql("10.0.2.61:3306")]
balancer.start()
balancer.healthy("redis-master", "redis-2")
balancer.healthy("mysql-writer", "mysql-1", "mysql-2")


def asked() -> str:
    """The Redis server that answers an unknown command."""
    with clients.connect(6379) as connection:
        connection.sendall(b"WHO\r\n")
        return clients.Stream(connection).target


def greeted() -> str:
    """The MySQL server that greets."""
    with clients.connect(3306) as connection:
        return connection.recv(200)[5:].split(b"\0")[0].decode()


assert {asked() for _ in range(6)} == {"10.0.2.60:6379"}
lasting = clients.connect(6379)
lasting.sendall(b"WHO\r\n")
lasting = clients.Stream(lasting)
redis[1].role, redis[2].role = "master", "slave"
balancer.healthy("redis-master", "redis-1")
lasting.ends_within(2)
assert {asked() for _ in range(6)} == {"10.0.1.60:6379"}

assert {greeted() for _ in range(4)} == {"10.0.1.61:3306"}, "a backup serves beside a healthy server"
mysql[0].accepts = False
balancer.healthy("mysql-writer", "mysql-2")
assert {greeted() for _ in range(4)} == {"10.0.2.61:3306"}
