"""A page of Gradio whose answer comes in steps, each when somebody lets it."""

import sys
import threading

import gradio

let = threading.Semaphore(0)


def steps(name: str, request: gradio.Request) -> str:
    for number in range(3):
        yield f"{name} {number} for {request.headers.get('remote-user')}"
        let.acquire()


def step() -> str:
    let.release()
    return "let"


with gradio.Blocks() as page:
    gradio.api(steps, api_name="steps")
    gradio.api(step, api_name="step")

page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]))
