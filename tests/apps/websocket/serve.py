"""Sends back every message, whole or in the pieces that it came in; prints its port."""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        if message == "who":
            await connection.send(connection.request.headers.get("Remote-User", "nobody"))
        elif message == "fragments":
            await connection.send(iter(["one ", "two ", "three"]))
        elif isinstance(message, str) and message.startswith("close "):
            await connection.close(int(message.split()[1]), "as you wish")
        else:
            await connection.send(message)


async def main():
    server = await serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo"])
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(0)
