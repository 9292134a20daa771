"""What a neighbour could try: asks the gateway itself, past nginx. forge.py ORIGIN ADDRESS"""

import sys
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

origin, address = sys.argv[1:]
headers = {"Host": urlsplit(origin).netloc, "X-Forwarded-For": address}
with urlopen(Request("http://gateway:8080/public/", headers=headers), timeout=5) as answer:
    print(answer.read().decode(), end="")
