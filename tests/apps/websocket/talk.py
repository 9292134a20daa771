"""Talks to the echo through the gateway: talk.py websockets|wsproto URL AUTHORIZATION.

Prints `good` at the end; anything that is not as it should be ends it.
"""

import asyncio
import os
import socket
import sys
from urllib.parse import urlsplit

LARGE = 64 * 1024 * 1024


async def by_websockets(url, authorization):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    def opened(**more):
        headers = {"Authorization": authorization}
        return connect(
            url, additional_headers=headers, max_size=None, subprotocols=["echo"], proxy=None, **more
        )

    async with opened() as connection:
        assert connection.subprotocol == "echo", connection.subprotocol
        await connection.send("who")
        assert await connection.recv() == "alice"
        for message in ["", "grüße", b"", bytes(range(256)), "x" * 125, "x" * 126, b"y" * 65536]:
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send(iter([b"a" * 10, b"", b"b" * 70000, b"c"]))
        assert await connection.recv() == b"a" * 10 + b"b" * 70000 + b"c"
        await connection.send("fragments")
        pieces = [piece async for piece in connection.recv_streaming()]
        assert "".join(pieces) == "one two three" and len(pieces) >= 3, pieces
        pong = await connection.ping(b"are you there")
        await pong

    large = os.urandom(LARGE)
    async with opened(compression=None) as connection:
        await connection.send(large)
        assert await connection.recv() == large, "64 MB came back as something else"

    for code in [1000, 1001, 1011, 3000, 4999]:
        async with opened() as connection:
            await connection.send(f"close {code}")
            try:
                await connection.recv()
                raise AssertionError("it goes on")
            except ConnectionClosed as closed:
                assert closed.rcvd.code == code, closed
                assert closed.rcvd.reason == "as you wish", closed
        async with opened() as connection:
            await connection.close(code, "my own wish")
            assert connection.close_code == code, connection.close_code


def by_wsproto(url, authorization):
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import (
        AcceptConnection,
        BytesMessage,
        CloseConnection,
        Ping,
        Pong,
        Request,
        TextMessage,
    )

    parts = urlsplit(url)
    plain = socket.create_connection((parts.hostname, parts.port), timeout=120)
    protocol = WSConnection(ConnectionType.CLIENT)

    def send(event):
        plain.sendall(protocol.send(event))

    def receive():
        while True:
            for event in protocol.events():
                return event
            received = plain.recv(65536)
            assert received, "it ended"
            protocol.receive_data(received)

    def message():
        whole = []
        while True:
            event = receive()
            assert isinstance(event, (TextMessage, BytesMessage)), event
            whole.append(event.data)
            if event.message_finished:
                return type(event.data)().join(whole)

    headers = [(b"authorization", authorization.encode())]
    asked = Request(
        host=parts.netloc, target=parts.path, extra_headers=headers, subprotocols=["echo"]
    )
    send(asked)
    assert isinstance(receive(), AcceptConnection)
    for text in ["who", "", "y" * 70000]:
        send(TextMessage(data=text))
        assert message() == ("alice" if text == "who" else text)
    send(BytesMessage(data=b"first", message_finished=False))
    send(Ping(payload=b"amid the fragments"))
    send(BytesMessage(data=b"last"))
    pong = receive()
    assert isinstance(pong, Pong) and pong.payload == b"amid the fragments", pong
    assert message() == b"firstlast"
    send(TextMessage(data="fragments"))
    assert message() == "one two three"
    send(CloseConnection(code=4321, reason="enough"))
    closed = receive()
    assert isinstance(closed, CloseConnection) and closed.code == 4321, closed
    assert plain.recv(1) == b"", "the end is clean"


way, url, authorization = sys.argv[1:]
if way == "websockets":
    asyncio.run(by_websockets(url, authorization))
else:
    by_wsproto(url, authorization)
print("good", flush=True)
