// The application: files, and answers that tell who the gateway says is asking. It knows no
// passwords and no tokens.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const files = {
  "/": ["public/index.html", "text/html; charset=utf-8"],
  "/app.js": ["public/app.js", "text/javascript"],
  "/portcullis.js": ["client/portcullis.js", "text/javascript"],
};

function answer(path, headers) {
  const caller = { username: headers["remote-user"], roles: (headers["remote-groups"] ?? "").split(",") };
  if (path === "/api/me") return caller;
  if (path === "/api/admin/metrics") return { metrics: 42 };
}

createServer(async (request, response) => {
  const path = request.url.split("?")[0];
  const api = answer(path, request.headers);
  if (api) return response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(api));
  const [file, type] = files[path] ?? [];
  if (!file) return response.writeHead(404).end();
  const body = await readFile(fileURLToPath(new URL(file, import.meta.url)));
  response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-cache" }).end(body);
}).listen(Number(process.argv[2] ?? 8011), process.argv[3] ?? "127.0.0.1");
