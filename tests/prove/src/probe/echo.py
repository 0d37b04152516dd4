"""The role of an echo: it carries the virtual IP, answers on it with its name, and notes which packets reach it."""

SEEN = set()
STATE = {"ready": b"installing"}
NAME = SETTING["name"].encode()


def start(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


def answer_datagrams(address):
    """`echo …` is answered with this echo's name, `ready` with its state, `seen KIND` with whether such a packet came.

    A socket for each address, because an answer must come from the address that was asked.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, ECHO))
    while True:
        data, sender = server.recvfrom(2048)
        word, _, rest = data.partition(b" ")
        if word == b"echo":
            server.sendto(NAME + b" " + rest, sender)
        elif word == b"ready":
            server.sendto(STATE["ready"], sender)
        elif word == b"seen":
            server.sendto(b"yes" if rest.decode() in SEEN else b"no", sender)


def answer_connections(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", port))
    server.listen(512)
    while True:
        start(serve, server.accept()[0])


def serve(connection):
    """A line is answered with the name; a request of HTTP with 200, after which the connection closes."""
    with connection:
        connection.settimeout(120)
        try:
            while data := connection.recv(4096):
                if data.startswith((b"GET", b"HEAD")):
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(NAME)}\r\nConnection: close\r\n\r\n"
                    connection.sendall(head.encode() + NAME)
                    return
                connection.sendall(NAME + b"\n")
        except OSError:
            pass


def note(kind, receiver):
    """Notes `KIND:NAME` for each packet with the mark. A raw socket sees a packet before TCP judges it."""
    while True:
        data = receiver.recv(65535)
        at = data.find(MARK)
        if at >= 0:
            SEEN.add(f"{kind}:{data[at + len(MARK) :].split()[0].decode(errors='replace')}")


def main():
    live_a_while()
    own = imds("meta-data/local-ipv4")
    subprocess.run(["ip", "address", "add", f"{SETTING['vip']}/32", "dev", "lo"], check=False)
    for address in (own, SETTING["vip"]):
        start(answer_datagrams, address)
    # 80: a listener; 8080: a target; 9110: a node's health; 9111: no rule admits it.
    for port in (80, 8080, 9110, 9111):
        start(answer_connections, port)
    vxlan = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    vxlan.bind((own, 4789))
    start(note, "vxlan", vxlan)
    start(note, "vrrp", socket.socket(socket.AF_INET, socket.SOCK_RAW, 112))
    start(note, "tcp", socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
    attempt(Ec2(), "install", install)
    STATE["ready"] = b"ready"
    while True:
        time.sleep(60)


main()
