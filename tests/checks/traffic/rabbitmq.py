"""RabbitMQ: a silent AMQP connection lasts, the kernel keeps it alive, and it ends after `idle_timeout`. A browser
stays on its node of the HTTP interface."""

import re
import subprocess
import time

import balancer
import clients
import targets

NODES = ["10.0.1.50", "10.0.2.50", "10.0.3.50"]
brokers = [targets.Tcp(f"{ip}:5672") for ip in NODES]
pages = [targets.Http(f"{ip}:15672") for ip in NODES]
balancer.start()

connections = [clients.stream(5672) for _ in range(3)]
assert {connection.target for connection in connections} == {f"{ip}:5672" for ip in NODES}, "not the fewest connections"


def sockets() -> str:
    ss = ["ss", "-tnoH", "state", "established"]
    return subprocess.run(ss, capture_output=True, text=True, check=True).stdout


# Both sides of each connection are probed after 2 minutes of silence, long before networks forget a flow.
probe = re.compile(r":5672 .*timer:\(keepalive,1min")
balancer.until(lambda: len(probe.findall(sockets())) == 6, "probes of both sides", 5, sockets)

browsers = [clients.get(port=15672) for _ in range(6)]
assert {browser.target() for browser in browsers} == {f"{ip}:15672" for ip in NODES}
for browser in browsers:
    again = {clients.get(port=15672, cookies=browser.cookies()).target() for _ in range(5)}
    assert again == {browser.target()}, f"a browser's cookie for {browser.target()} led to {again}"

# The same with an idle timeout of 2 s instead of 3 h.
balancer.reload("changed.cfg")
silent = clients.stream(5672)
time.sleep(1)
assert silent.echoes()
assert silent.ends_within(5) > 1.5
assert all(connection.echoes() for connection in connections), "a connection from before the reload ended"
