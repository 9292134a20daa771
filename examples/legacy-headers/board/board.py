"""A board: whoever is on the page sees what anybody writes. It knows no passwords and no roles;
who is writing stands in Remote-User."""

import asyncio
import signal
from http import HTTPStatus
from pathlib import Path

import websockets

PAGE = Path(__file__).with_name("page.html").read_bytes()
present = set()


async def page(_path, headers):
    if headers.get("Upgrade", "").lower() != "websocket":
        return HTTPStatus.OK, [("Content-Type", "text/html; charset=utf-8")], PAGE


async def write(connection):
    who = connection.request_headers.get("Remote-User", "nobody")
    present.add(connection)
    try:
        async for line in connection:
            websockets.broadcast(present, f"{who}: {line}")
    finally:
        present.discard(connection)


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with websockets.serve(write, "0.0.0.0", 8000, process_request=page, max_size=4096):
        await stop.wait()


asyncio.run(main())
