// Plain pages: a desk with a form, a safe, a form that is broken off every other time, what never
// answers, and at `/kept` every note that came with who sent it.
import { createServer } from "node:http";

const kept = [];
let fickle = false;

const page = (title, more = "") => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<main>
<h1>${title}</h1>
${more}
</main>`;

const form = (action) => `<form method="post" action="${action}">
<label>Note <input name="note" autofocus></label>
<button>Keep</button>
</form>`;

async function answer(request, who) {
  switch (`${request.method} ${request.url}`) {
    case "GET /":
      return page(`Desk of ${who}`, form("/notes"));
    case "GET /fickle":
      return page("Fickle", form("/fickle"));
    case "GET /safe":
      return page(`Safe of ${who}`);
    case "GET /framing":
      return page("Framing", '<iframe src="/safe" title="The safe" width="280" height="400"></iframe>');
    case "GET /slow":
      return new Promise(() => {});
    case "POST /fickle":
      if ((fickle = !fickle)) return void request.socket.destroy();
    // The second time it does what it is asked.
    case "POST /notes": {
      let sent = "";
      for await (const piece of request) sent += piece;
      kept.push([who, new URLSearchParams(sent).get("note")]);
      return page("Kept");
    }
    case "GET /kept":
      return JSON.stringify(kept);
  }
}

createServer(async (request, response) => {
  const body = await answer(request, request.headers["remote-user"]);
  response.writeHead(body ? 200 : 404, { "Content-Type": "text/html; charset=utf-8" }).end(body);
}).listen(Number(process.argv[2]), "127.0.0.1");
