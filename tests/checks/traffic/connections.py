"""How long connections last: silent ones, half-closed ones, and those that are open at a reload. And how long a
request's headers may be."""

import concurrent.futures
import socket
import threading
import time

import balancer
import clients
import targets

# The time for half-closed connections is scaled from 30 s to 2 s.
FIN = ("-fin 30s", "-fin 2s")
with open("haproxy.cfg") as file:
    config = file.read()
assert config.count(FIN[0]) == 2, config
with open("haproxy.cfg", "w") as file:
    file.write(config.replace(*FIN))

page = targets.Http("10.0.1.1:8080")
streams = {port: targets.Tcp(f"10.0.1.1:{port}") for port in (5000, 5001)}
for stream in streams.values():
    stream.may_close.clear()
balancer.start()


def a_silent_connection_ends_after_the_idle_timeout() -> None:
    stream = clients.stream(5000)
    for _ in range(2):
        time.sleep(2)
        assert stream.echoes(), "a connection ended that was silent for less than its idle timeout"
    assert stream.ends_within(6) > 2.5


def a_patient_connection_lasts() -> None:
    stream = clients.stream(5001)
    clients.is_silent(stream.connection, 6)
    assert stream.echoes()


def a_connection_that_the_client_half_closed_ends() -> None:
    stream = clients.stream(5001)
    stream.connection.shutdown(socket.SHUT_WR)
    assert stream.ends_within(5) > 1


def a_connection_that_the_target_half_closed_ends() -> None:
    stream = clients.stream(5001)
    stream.connection.sendall(b"half\n")
    assert stream.line() == "", "the target closes its end first"
    stream.connection.sendall(b"more")
    ended = streams[5001].half_closed
    balancer.until(lambda: ended, "HAProxy to close the target's connection", 5)
    got, after = ended[0]
    assert got == b"more" and after > 1, ended


def a_kept_connection_ends_after_keep_alive() -> None:
    connection = clients.connect(80)
    clients.ask(connection)
    clients.answer(connection).target()
    assert clients.Stream(connection, greets=False).ends_within(2.7) > 0.7


def a_slow_answer_within_the_idle_timeout_is_served() -> None:
    assert clients.get(headers=[("X-Wait", "2")]).status == 200
    assert clients.get(headers=[("X-Wait", "5")]).status == 504


def a_web_socket_may_be_silent_for_longer() -> None:
    web_socket = clients.web_socket()
    clients.is_silent(web_socket.connection, 5)
    assert web_socket.echoes()


def reloads_cut_nothing() -> None:
    """Three reloads, as of a rolling update: what was open lasts, and new requests are answered meanwhile."""
    web_socket, stream = clients.web_socket(), clients.stream(5001)
    kept, download = clients.connect(81), clients.connect(81)
    clients.ask(kept)
    clients.answer(kept).target()
    clients.ask(download, "/download", "Connection: close\r\n")
    over, statuses = threading.Event(), []

    def steadily() -> None:
        while not over.is_set():
            statuses.append(clients.get(port=81).status)

    steady = threading.Thread(target=steadily)
    steady.start()
    began = time.monotonic()
    for config in ("changed.cfg", "haproxy.cfg", "changed.cfg"):
        balancer.reload(config)
    assert time.monotonic() < began + 15, "the download may be over"
    over.set()
    steady.join()
    assert len(statuses) > 20 and set(statuses) == {200}, statuses
    assert web_socket.echoes() and stream.echoes(), "a reload cut a WebSocket or a stream"
    clients.ask(kept)
    answer = clients.answer(kept)
    assert answer.target() and answer.header("connection") == "close", answer.headers
    assert clients.Answer(clients.rest(download)).body == "." * 300, "a reload cut a download"


def passes(size: int) -> int:
    """The answer to a request with a header of this size, which the target must have got whole."""
    answer = clients.get(headers=[("X-Long", "x" * size)])
    if answer.status == 200:
        assert ["x-long", "x" * size] in answer.asked()["headers"], "the header was cut"
    return answer.status


TESTS = (
    a_silent_connection_ends_after_the_idle_timeout,
    a_patient_connection_lasts,
    a_connection_that_the_client_half_closed_ends,
    a_connection_that_the_target_half_closed_ends,
    a_kept_connection_ends_after_keep_alive,
    a_slow_answer_within_the_idle_timeout_is_served,
    a_web_socket_may_be_silent_for_longer,
)
with concurrent.futures.ThreadPoolExecutor(len(TESTS)) as pool:
    for done in [pool.submit(test) for test in TESTS]:
        done.result()
assert passes(60_000) == 200
reloads_cut_nothing()
assert passes(14_000) == 200 and passes(60_000) == 400
