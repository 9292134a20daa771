// Plain pages: a desk with a form, a safe, and at `/kept` every note that came with who sent it.
import { createServer } from "node:http";

const kept = [];

const page = (title, more = "") => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<h1>${title}</h1>
${more}`;

const form = `<form method="post" action="/notes">
<label>Note <input name="note" autofocus></label>
<button>Keep</button>
</form>`;

async function answer(request, who) {
  switch (`${request.method} ${request.url}`) {
    case "GET /":
      return page(`Desk of ${who}`, form);
    case "GET /safe":
      return page(`Safe of ${who}`);
    case "GET /framing":
      return page("Framing", '<iframe src="/framed" title="framed"></iframe>');
    case "GET /kept":
      return JSON.stringify(kept);
    case "POST /notes": {
      let sent = "";
      for await (const piece of request) sent += piece;
      kept.push([who, new URLSearchParams(sent).get("note")]);
      return page("Kept");
    }
  }
}

createServer(async (request, response) => {
  const body = await answer(request, request.headers["remote-user"]);
  response.writeHead(body ? 200 : 404, { "Content-Type": "text/html; charset=utf-8" }).end(body);
}).listen(Number(process.argv[2]), "127.0.0.1");
