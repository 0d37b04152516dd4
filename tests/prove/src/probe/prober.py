"""The role of the prober: it moves the route, sends probes, and measures both on its own clock."""

VIP = SETTING["vip"]
EVERY = 0.01
# A move that no client saw after this time is recorded as unseen.
PATIENCE = 30


class Client(threading.Thread):
    """Asks the virtual IP every 10 ms, in one kept flow (`open`) and in a new flow each time (`new`)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.first = {}
        self.going = True
        self.poll = selectors.DefaultSelector()

    def socket(self, kind):
        flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flow.setblocking(False)
        flow.connect((VIP, ECHO))
        self.poll.register(flow, selectors.EVENT_READ, kind)
        return flow

    def run(self):
        kept, fresh, due = self.socket("open"), collections.deque(), time.monotonic()
        while self.going:
            now = time.monotonic()
            if now >= due:
                flow = self.socket("new")
                fresh.append((now, flow))
                for one in (kept, flow):
                    self.quietly(lambda: one.send(b"echo 1"))
                due = max(due + EVERY, now)
            while fresh and fresh[0][0] < now - 1:
                old = fresh.popleft()[1]
                self.poll.unregister(old)
                old.close()
            for key, _ in self.poll.select(max(0, due - time.monotonic())):
                data = self.quietly(lambda: key.fileobj.recv(64))
                if data:
                    self.first.setdefault((key.data, data.split()[0].decode()), time.monotonic())

    @staticmethod
    def quietly(call):
        try:
            return call()
        except OSError:
            return None

    def until(self, name, end):
        """Waits until both kinds of flow reached this echo; when each did."""
        kinds = ("open", "new")
        while time.monotonic() < end and not all((kind, name) in self.first for kind in kinds):
            time.sleep(0.002)
        return {kind: self.first.get((kind, name)) for kind in kinds}


class Prober:
    def __init__(self):
        self.ec2 = Ec2()
        self.client = Client()
        self.echoes = {echo["name"]: echo for echo in SETTING["echoes"]}

    def ask(self, echo, question, seconds=2):
        """Asks an echo at its own address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.settimeout(0.5)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    flow.sendto(question.encode(), (self.echoes[echo]["address"], ECHO))
                    return flow.recv(64).decode()
                except OSError:
                    time.sleep(0.1)
        raise RuntimeError(f"echo {echo} at {self.echoes[echo]['address']} doesn't answer on UDP {ECHO}")

    def seen(self, echo, kind):
        """Whether such a packet reached the echo, asked for up to 3 s."""
        for _ in range(15):
            if self.ask(echo, f"seen {kind}") == "yes":
                return True
            time.sleep(0.2)
        return False

    def ready(self):
        begin = time.monotonic()
        for name in self.echoes:
            while self.ask(name, "ready", 420) != "ready":
                if time.monotonic() > begin + 420:
                    raise RuntimeError(f"echo {name} still installs after 420 s")
                time.sleep(1)
        return {"seconds": round(time.monotonic() - begin, 1)}

    def route(self, name):
        parameters = {"RouteTableId": SETTING["table"], "DestinationCidrBlock": f"{VIP}/32"}
        self.ec2.call("ReplaceRoute", {**parameters, "NetworkInterfaceId": self.echoes[name]["interface"]})

    def lead_to(self, name):
        """Points the route at an echo, and waits until clients reach it."""
        patiently(lambda: self.route(name))
        # Earlier answers of this echo don't count.
        time.sleep(1.5)
        self.client.first.clear()
        if None in self.client.until(name, time.monotonic() + PATIENCE).values():
            raise RuntimeError(f"no answer of echo {name} through {VIP} within {PATIENCE} s after ReplaceRoute")

    def moves(self):
        """Milliseconds of each move, from the call's start: to its answer, in an open flow, in a new flow."""
        self.lead_to("a")
        moves, end = [], time.monotonic() + 300
        for turn in range(SETTING["moves"]):
            if time.monotonic() > end:
                break
            name = "ba"[turn % 2]
            self.client.first.clear()
            begin = time.monotonic()
            self.route(name)
            answered = time.monotonic()
            first = self.client.until(name, begin + PATIENCE)
            times = (answered, first["open"], first["new"])
            moves.append([None if at is None else round((at - begin) * 1000, 1) for at in times])
            time.sleep(0.3)
        return {"moves": moves}

    def imds(self):
        """Milliseconds from the answer of CreateTags until IMDS shows the new value, ten times."""
        delays = []
        for _ in range(10):
            value = uuid.uuid4().hex
            tag(self.ec2, {"prove.imds-value": value})
            begin = time.monotonic()
            while imds("meta-data/tags/instance/prove.imds-value") != value:
                if time.monotonic() > begin + 120:
                    raise RuntimeError(f"IMDS doesn't show a changed tag after 120 s; so far: {delays} ms")
                time.sleep(0.01)
            delays.append(round((time.monotonic() - begin) * 1000, 1))
        return {"delays": delays}

    def middle(self):
        """A connection through one echo continues after its route leads to the other, which doesn't know it."""
        self.lead_to("a")
        with socket.create_connection((VIP, 80), timeout=5) as connection:
            connection.sendall(b"hello\n")
            name = connection.recv(64)
            if name != b"a\n":
                raise RuntimeError(f"the connection reached {name!r} instead of echo a")
            self.lead_to("b")
            connection.settimeout(5)
            connection.sendall(MARK + b"middle \n")
            try:
                client = f"answer {connection.recv(64)!r}"
            except ConnectionResetError:
                client = "reset"
            except socket.timeout:
                client = "silence"
        return {"arrived": self.seen("b", "tcp:middle"), "client": client}

    def packet(self, kind, flow, data, port):
        """A datagram to an echo's own address."""
        for _ in range(3):
            flow.sendto(data, (self.echoes["b"]["address"], port))
            time.sleep(0.2)
        return {"arrived": self.seen("b", f"{kind}:{kind}")}

    def vxlan(self):
        header = struct.pack("!BBHI", 8, 0, 0, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            return self.packet("vxlan", flow, header + MARK + b"vxlan ", 4789)

    def vrrp(self):
        # RFC 5798 section 5.1: version 3, advertisement; keepalived ignores it, as the marked rest isn't valid.
        header = struct.pack("!BBBBHH", 0x31, 77, 0, 1, 20, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as flow:
            return self.packet("vrrp", flow, header + MARK + b"vrrp ", 0)

    def connect(self, address, port):
        begin = time.monotonic()
        try:
            with socket.create_connection((address, port), timeout=4) as connection:
                connection.sendall(b"hello\n")
                name = connection.recv(64).decode().strip()
                return {"connected": True, "name": name, "ms": round((time.monotonic() - begin) * 1000, 1)}
        except socket.timeout:
            return {"connected": False, "why": "silence"}
        except OSError as error:
            return {"connected": False, "why": str(error)}

    def watch(self):
        """To the virtual IP's port 9110, which only members of the group may reach, through the route."""
        self.lead_to("a")
        return self.connect(VIP, 9110)

    def closed(self):
        """To a port that no rule admits: the other answers mean nothing if this one connects."""
        return self.connect(self.echoes["a"]["address"], 9111)

    def outage(self):
        """Waits for the order in the tag `prove-cut`, then measures the longest time without a good answer."""
        end = time.monotonic() + 900
        while imds("meta-data/tags/instance/prove-cut") is None:
            if time.monotonic() > end:
                raise RuntimeError("no power cut was ordered within 900 s")
            time.sleep(0.5)
        return asyncio.run(Outage(self.ec2).measure())


class Outage:
    """A request to the balancer every 10 ms, each on a new connection with a limit of 1 s."""

    def __init__(self, ec2):
        self.ec2 = ec2
        self.good, self.longest, self.failed = time.monotonic(), 0.0, 0
        self.last_failed = None

    async def measure(self):
        tasks, end, armed = set(), time.monotonic() + 300, False
        while time.monotonic() < end:
            task = asyncio.create_task(self.ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(EVERY)
            # The first second fills the pipeline; then the power may be cut.
            if not armed and time.monotonic() > end - 299:
                armed, self.longest, self.failed, self.last_failed = True, 0.0, 0, None
                # Not awaited: requests go on meanwhile.
                told = asyncio.get_running_loop().run_in_executor(None, report, self.ec2, "armed", {})
                tasks.add(told)
            over = self.last_failed is not None and self.good > self.last_failed
            if over and time.monotonic() > self.last_failed + 5:
                return {"outage_ms": round(self.longest * 1000, 1), "failed": self.failed}
        raise RuntimeError(f"300 s passed with {self.failed} failed requests, and no outage began and ended")

    async def ask(self):
        try:
            status = await asyncio.wait_for(self.request(), 1)
        except Exception:
            status = None
        if status == b"200":
            now = time.monotonic()
            self.longest, self.good = max(self.longest, now - self.good), now
        else:
            self.failed, self.last_failed = self.failed + 1, time.monotonic()

    async def request(self):
        reader, writer = await asyncio.open_connection(SETTING["balancer"], 80)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: elbow\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).split()[1]
        finally:
            writer.close()


def main():
    live_a_while()
    prober = Prober()
    attempt(prober.ec2, "install", install)
    attempt(prober.ec2, "ready", prober.ready)
    prober.client.start()
    for name in ("moves", "imds", "middle", "vxlan", "vrrp", "watch", "closed"):
        attempt(prober.ec2, name, getattr(prober, name))
    prober.client.going = False
    report(prober.ec2, "done", {})
    if SETTING["balancer"]:
        attempt(prober.ec2, "outage", prober.outage)


main()
