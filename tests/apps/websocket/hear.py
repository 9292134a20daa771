"""Listens to an application's WebSocket: hear.py URL ORIGIN COOKIES WANTED TEXT...

Sends the texts and prints `heard` with the first message in which WANTED stands; or `ended`.
"""

import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(url, origin, cookies, wanted, *texts):
    headers = {"Cookie": cookies} if cookies else {}
    with connect(
        url, origin=origin, additional_headers=headers, max_size=None, proxy=None
    ) as socket:
        for text in texts:
            socket.send(text)
        while True:
            try:
                message = socket.recv()
            except ConnectionClosed:
                print("ended", flush=True)
                return
            if isinstance(message, str) and wanted in message:
                print("heard", message.replace("\n", " "), flush=True)
                return
            print("passed over", message[:500], flush=True)


main(*sys.argv[1:])
